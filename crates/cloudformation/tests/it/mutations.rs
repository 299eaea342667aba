//! Seeded defects: each is put into the generated stacks, and the rule that it breaks must say so.
//!
//! Defects that only foreign validators find are in `.ci/mutations.py`.

use cloudformation::checks::{Document, Scope, check, rules};
use serde_json::{Value as Json, json};

use crate::defects::{Change, DEFECTS, Defect};
use crate::variants::{self, Fixture};

/// What is generated, and a template that is not ours.
fn systems() -> Vec<Vec<Document>> {
    let mut systems = variants::systems();
    systems.push(vec![Document::parse("foreign.yaml", include_str!("foreign.yaml")).unwrap()]);
    systems
}

/// Puts a defect into the first resource of its type that has a place for it.
fn seed(documents: &[Document], defect: &Defect) -> Option<Vec<Document>> {
    let mut changed: Vec<(String, Json)> =
        documents.iter().map(|document| (document.name().to_owned(), document.json().clone())).collect();
    let (kind, index) = match defect.kind.split_once('#') {
        Some((kind, index)) => (kind, index.parse().unwrap()),
        None => (defect.kind, 0),
    };
    let resources =
        changed.iter_mut().flat_map(|(_, template)| template["Resources"].as_object_mut().unwrap().values_mut());
    let place = resources.filter(|resource| resource["Type"] == kind && has(resource, defect)).nth(index)?;
    match defect.change {
        Change::Set(path, value) => *at(place, path) = serde_json::from_str(value).unwrap(),
        Change::Add(path, value) => match at(place, path) {
            Json::Array(items) => items.push(serde_json::from_str(value).unwrap()),
            other => *other = json!([serde_json::from_str::<Json>(value).unwrap()]),
        },
        Change::Remove(path) => {
            let (parent, key) = match path.rsplit_once('/') {
                Some((parent, key)) => (at(place, parent), key),
                None => (place, path),
            };
            match parent {
                Json::Object(fields) => drop(fields.shift_remove(key).unwrap()),
                Json::Array(items) => drop(items.remove(key.parse().unwrap())),
                other => panic!("{other} has no {key}"),
            }
        }
        Change::Replace(path, from, to) => {
            let text = at(place, path);
            let after = text.to_string().replacen(from, to, 1);
            *text = serde_json::from_str(&after).unwrap();
        }
    }
    Some(changed.into_iter().map(|(name, template)| Document::new(name, template)).collect())
}

/// Whether a resource has what the defect changes: for a new field, its parent.
fn has(resource: &Json, defect: &Defect) -> bool {
    match defect.change {
        Change::Set(path, _) | Change::Add(path, _) => {
            path.rsplit_once('/').is_none_or(|(parent, _)| resource.pointer(&format!("/{parent}")).is_some())
        }
        Change::Remove(path) => resource.pointer(&format!("/{path}")).is_some(),
        Change::Replace(path, from, _) => {
            resource.pointer(&format!("/{path}")).is_some_and(|value| value.to_string().contains(from))
        }
    }
}

fn at<'a>(resource: &'a mut Json, path: &str) -> &'a mut Json {
    path.split('/').fold(resource, |json, key| match json {
        Json::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        other => &mut other[key],
    })
}

#[test]
fn what_works_has_no_finding() {
    for documents in systems() {
        let findings = check(&documents, Scope::Whole);
        assert!(findings.is_empty(), "{}", findings[0]);
    }
}

#[test]
fn no_variant_has_a_finding() {
    let Fixture { project, environments } = variants::aws();
    let all = cloudformation::variants::all(&project, &environments);
    assert!(all.len() > 100, "{} variants", all.len());
    for variant in all {
        let findings = check(&variants::documents(&variant.project, &variant.environments), Scope::Whole);
        assert!(findings.is_empty(), "{}: {}", variant.name, findings[0]);
    }
}

#[test]
fn every_seeded_defect_is_found_by_its_rule() {
    let systems = systems();
    let mut missed = Vec::new();
    for defect in DEFECTS {
        let Some(seeded) = systems.iter().find_map(|documents| seed(documents, defect)) else {
            missed.push(format!("{}: nothing generated has a place for it", defect.name));
            continue;
        };
        let findings = check(&seeded, Scope::Whole);
        if !findings.iter().any(|finding| finding.rule == defect.rule) {
            let others: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
            missed.push(format!("{}: {} did not find it; found by {others:?}", defect.name, defect.rule));
        }
    }
    assert!(missed.is_empty(), "{} of {} missed:\n{}", missed.len(), DEFECTS.len(), missed.join("\n"));
}

#[test]
fn every_rule_is_proved_by_a_defect() {
    let unproved: Vec<_> =
        rules().map(|rule| rule.name).filter(|name| DEFECTS.iter().all(|defect| defect.rule != *name)).collect();
    assert!(unproved.is_empty(), "no defect proves {unproved:?}");
}

#[test]
fn a_finding_names_stack_resource_field_and_the_way_out() {
    let defect = DEFECTS.iter().find(|defect| defect.rule == "container-port").unwrap();
    let seeded = systems().iter().find_map(|documents| seed(documents, defect)).unwrap();
    let findings = check(&seeded, Scope::Whole);
    let finding = findings.iter().find(|finding| finding.rule == "container-port").unwrap();
    assert!(finding.stack.contains("-service-"), "{finding}");
    assert_eq!((finding.resource.as_str(), finding.field.as_str()), ("Service", "LoadBalancers[0].ContainerPort"));
    assert!(finding.to_string().contains("hint: "), "{finding}");
}

#[test]
fn what_a_condition_decides_is_judged_as_if_it_held() {
    let judged = |template: &str| -> Vec<_> {
        let document = Document::parse("if.yaml", template).unwrap();
        check(&[document], Scope::Part).into_iter().map(|finding| (finding.rule, finding.field)).collect()
    };
    let template = |statements: &str| {
        format!(
            "Parameters: {{Mail: {{Type: String, Default: ''}}}}\nResources:\n  Topic: {{Type: AWS::SNS::Topic}}\n  \
             Mail: {{Type: AWS::SNS::Subscription, Properties: {{Protocol: email, Endpoint: !Ref Mail, TopicArn: !Ref Topic}}}}\n  \
             Policy:\n    Type: AWS::SNS::TopicPolicy\n    Properties:\n      Topics: [!Ref Topic]\n      \
             PolicyDocument: {{Statement: {statements}}}\n"
        )
    };
    let let_in = |who: &str| format!("{{Effect: Allow, Principal: {who}, Action: 'sns:Publish', Resource: '*'}}");
    let own = let_in("{AWS: '123456789012'}");
    // A part that is there, one that is there otherwise, and one that is not.
    let good =
        format!("[!If [A, {own}, !Ref 'AWS::NoValue'], !If [B, !Ref 'AWS::NoValue', {own}], !Ref 'AWS::NoValue']");
    assert_eq!(judged(&template(&good)), []);
    let open = format!("!If [A, [{own}, !If [B, {}, {own}]], []]", let_in("'*'"));
    let place = "PolicyDocument.Statement[1].Principal".to_owned();
    assert_eq!(judged(&template(&open)), [("public-principal", place)]);
}

#[test]
fn what_only_the_stack_or_another_one_tells_is_no_finding() {
    let template = "Parameters: {On: {Type: String}}\nResources:\n  Board:\n    Type: AWS::CloudWatch::CompositeAlarm\n    \
                    Properties: {AlarmRule: 'ALARM(\"elsewhere\")'}\n  Table:\n    Type: AWS::DynamoDB::Table\n    \
                    DeletionPolicy: Retain\n    UpdateReplacePolicy: Retain\n    Properties:\n      \
                    PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: !Ref On}\n";
    let document = Document::parse("given.yaml", template).unwrap();
    assert_eq!(check(std::slice::from_ref(&document), Scope::Part), []);
    let rules: Vec<_> = check(&[document], Scope::Whole).into_iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, ["composite-alarm"]);
}
