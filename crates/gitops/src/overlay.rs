//! Kustomizations: the base, and what sets an environment apart from it.

use cloudformation::GeneratedFile;
use environment::{Environment, Project};
use serde_json::{Value as Json, json};

use crate::container::Container;
use crate::{Manifest, custom, file, json as to_json};

const API_VERSION: &str = "kustomize.config.k8s.io/v1beta1";

/// The kustomization of the base.
pub(crate) fn base(manifests: &[Manifest]) -> Json {
    let resources: Vec<_> = manifests.iter().map(|manifest| format!("{}.yaml", manifest.name)).collect();
    json!({"apiVersion": API_VERSION, "kind": "Kustomization", "resources": resources})
}

/// The overlay of an environment. Its image is a component of its own, which promotions write.
pub(crate) fn files(
    environment: &Environment,
    container: &Container,
    base: &[Manifest],
    own: &[Manifest],
) -> Vec<GeneratedFile> {
    let name = environment.name;
    let mut resources = vec!["../../manifests".to_owned()];
    let mut files = Vec::new();
    for (secret, document) in custom::external_secrets(environment) {
        resources.push(format!("{secret}.yaml"));
        files.push(file(&format!("overlays/{name}/{secret}.yaml"), &to_json(&document)));
    }
    let variables: Vec<_> = container.variables().map(|(name, value)| format!("{name}={value}")).collect();
    let patches: Vec<_> = base.iter().zip(own).filter_map(|(base, own)| patch(&base.json, &own.json)).collect();
    let mut kustomization = json!({
        "apiVersion": API_VERSION,
        "kind": "Kustomization",
        "namespace": name.as_str(),
        "resources": resources,
        "components": ["image"],
        // The generated name carries a hash: other variables are another configuration, and pods are replaced.
        "configMapGenerator": [{"name": Project::SERVICE, "literals": variables}],
    });
    if !patches.is_empty() {
        kustomization["patches"] = patches.into();
    }
    files.push(file(&format!("overlays/{name}/kustomization.yaml"), &kustomization));
    files
}

/// The JSON patch that makes one manifest of another.
fn patch(base: &Json, own: &Json) -> Option<Json> {
    let mut operations = Vec::new();
    difference(base, own, String::new(), &mut operations);
    let target = json!({"kind": base["kind"], "name": base["metadata"]["name"]});
    // Kustomize takes the operations as a text; JSON is YAML too.
    let text = serde_yaml::to_string(&operations).unwrap_or_default();
    (!operations.is_empty()).then(|| json!({"target": target, "patch": text}))
}

fn difference(base: &Json, own: &Json, path: String, operations: &mut Vec<Json>) {
    let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (base, own) {
        (Json::Object(from), Json::Object(to)) => {
            for key in from.keys().filter(|key| !to.contains_key(*key)) {
                operations.push(json!({"op": "remove", "path": below(key)}));
            }
            for (key, value) in to {
                match from.get(key) {
                    Some(before) => difference(before, value, below(key), operations),
                    None => operations.push(json!({"op": "add", "path": below(key), "value": value})),
                }
            }
        }
        (Json::Array(from), Json::Array(to)) if from.len() == to.len() => {
            for (index, (before, after)) in from.iter().zip(to).enumerate() {
                difference(before, after, below(&index.to_string()), operations);
            }
        }
        _ if base == own => {}
        _ => operations.push(json!({"op": "replace", "path": path, "value": own})),
    }
}
