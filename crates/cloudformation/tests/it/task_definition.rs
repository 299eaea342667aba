//! The template's task definition and the committed `taskdef.json` are one.

use cloudformation::{GeneratedFile, Stack, StackKind};
use serde_json::{Value as Json, json};

use crate::variants::{committed, project};

/// Both have the same fields, and the same values wherever the template has a literal.
pub(crate) fn check(stacks: &[Stack], files: &[GeneratedFile]) {
    let service = stacks.iter().find(|stack| stack.kind == StackKind::Service).unwrap();
    let mut resource = service.template["Resources"]["FirstTaskDefinition"]["Properties"].clone();
    resource.as_object_mut().unwrap().remove("Tags");
    let file = files.iter().find(|file| file.path.ends_with("taskdef.json")).unwrap();
    same("", &resource, &serde_json::from_str(&file.text).unwrap());
}

fn same(path: &str, template: &Json, file: &Json) {
    match (template, file) {
        (Json::Object(fields), _) if fields.keys().any(|key| key == "Ref" || key.starts_with("Fn::")) => {
            assert!(file.is_string(), "{path}: {file} stands for {template}");
        }
        (Json::Object(fields), Json::Object(others)) => {
            assert_eq!(fields.len(), others.len(), "{path}: {template} and {file}");
            for (key, value) in fields {
                let lower = key[..1].to_ascii_lowercase() + &key[1..];
                same(&format!("{path}.{lower}"), value, &others[&lower]);
            }
        }
        (Json::Array(items), Json::Array(others)) => {
            assert_eq!(items.len(), others.len(), "{path}");
            for (item, other) in items.iter().zip(others) {
                same(path, item, other);
            }
        }
        _ => assert_eq!(template, file, "{path}"),
    }
}

#[test]
fn taskdef_json_names_the_roles_of_its_environment_and_takes_any_image() {
    let [staging, production] = <[_; 2]>::try_from(committed()).unwrap();
    for environment in [staging, production] {
        let files = cloudformation::files(&project(), std::slice::from_ref(&environment)).unwrap();
        let definition: Json = serde_json::from_str(&files[1].text).unwrap();
        let role =
            |kind: &str| json!(format!("arn:aws:iam::000000000000:role/smartassist-{}-{kind}", environment.name));
        assert_eq!(definition["executionRoleArn"], role("execution"));
        assert_eq!(definition["taskRoleArn"], role("task"));
        let container = &definition["containerDefinitions"][0];
        assert_eq!(container["image"], "<IMAGE1_NAME>");
        assert_eq!(container["name"], "chatbot");
        assert_eq!(container["user"], "10001:10001");
        assert_eq!(container["readonlyRootFilesystem"], true);
        assert_eq!(container["stopTimeout"], 60);
    }
}

#[test]
fn spot_is_named_in_the_appspec_too() {
    let mut environment = committed().remove(0);
    environment.task.capacity = environment::Capacity::Spot;
    let files = cloudformation::files(&project(), &[environment]).unwrap();
    assert!(files[2].text.contains("CapacityProvider: FARGATE_SPOT"), "{}", files[2].text);
}
