//! What a definition would change in a stack.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::evaluate::Evaluation;
use super::intrinsics::{Failure, UNKNOWN};
use super::records::{Definition, Resource, Stack, Status};
use super::resources::{Effect, changed, effect};
use super::template::{Policy, Template, references};
use crate::cloud::Cloud;

/// The reason of a change set that would change nothing, in AWS's own words; clients match on it.
pub(super) const NO_CHANGES: &str =
    "The submitted information didn't contain changes. Submit different information to create a change set.";

/// The changes, in AWS's shape. `Err` is the reason of a failed change set.
pub(super) fn changes(cloud: &Cloud, stack: &Stack, definition: &Definition) -> Result<Vec<Value>, Failure> {
    let template = Template::parse(&definition.template).map_err(|error| error.message)?;
    let evaluation = Evaluation::new(cloud, (&stack.id, &stack.name), template, &definition.parameters, true);
    let existing = |logical: &str| {
        let resource = stack.resources.get(logical)?;
        (resource.physical.is_some() && resource.status != Status::DeleteComplete).then_some(resource)
    };
    let mut found = vec![];
    // Resources whose Ref is not known before they exist.
    let mut unsettled: BTreeSet<String> = BTreeSet::new();
    let wanted = evaluation.wanted()?;
    for logical in &wanted {
        let Some(declaration) = evaluation.template.resources.get(logical) else { continue };
        let lookup = |name: &str| {
            existing(name).filter(|_| !unsettled.contains(name)).map(|resource| resource.attributes.clone())
        };
        let (properties, _) = evaluation.properties(logical, &lookup)?;
        let Some(resource) = existing(logical) else {
            unsettled.insert(logical.clone());
            found.push(json!({"Type": "Resource", "ResourceChange": {
                "Action": "Add", "LogicalResourceId": logical, "ResourceType": declaration.kind, "Scope": [], "Details": [],
            }}));
            continue;
        };
        let names = changed(&resource.properties, &properties);
        let policies =
            resource.deletion != declaration.deletion || resource.update_replace != declaration.update_replace;
        if names.is_empty() && !policies && resource.kind == declaration.kind {
            continue;
        }
        let (mut replacement, mut details, mut scope) = ("False", vec![], BTreeSet::new());
        if resource.kind != declaration.kind {
            replacement = "True";
        }
        for name in &names {
            let raw = &declaration.properties[name];
            let dynamic = properties[name].to_string().contains(UNKNOWN);
            let recreation = match effect(&declaration.kind, name) {
                Effect::Modify => "Never",
                Effect::Replace => "Always",
            };
            if recreation == "Always" && !dynamic {
                replacement = "True";
            } else if recreation == "Always" && replacement == "False" {
                replacement = "Conditional";
            }
            let attribute = if name == "Tags" { "Tags" } else { "Properties" };
            scope.insert(attribute);
            details.push(detail(&evaluation.template, raw, attribute, name, recreation, dynamic));
        }
        if policies {
            scope.insert(if resource.deletion == declaration.deletion {
                "UpdateReplacePolicy"
            } else {
                "DeletionPolicy"
            });
        }
        if replacement != "False" {
            unsettled.insert(logical.clone());
        }
        found.push(json!({"Type": "Resource", "ResourceChange": {
            "Action": "Modify", "LogicalResourceId": logical, "PhysicalResourceId": resource.physical,
            "ResourceType": declaration.kind, "Replacement": replacement, "Scope": scope, "Details": details,
        }}));
    }
    for (logical, resource) in &stack.resources {
        if !wanted.contains(logical) && existing(logical).is_some() {
            found.push(removal(logical, resource));
        }
    }
    if found.is_empty() && stack.status != Status::ReviewInProgress {
        let lookup = |name: &str| existing(name).map(|resource| resource.attributes.clone());
        let (outputs, _) = evaluation.outputs(&lookup)?;
        if outputs == stack.outputs && definition.tags == stack.definition.tags {
            return Err(NO_CHANGES.to_owned());
        }
    }
    Ok(found)
}

fn detail(template: &Template, raw: &Value, attribute: &str, name: &str, recreation: &str, dynamic: bool) -> Value {
    let mut target = json!({"Attribute": attribute, "RequiresRecreation": recreation});
    if attribute == "Properties" {
        target["Name"] = name.into();
    }
    let causes = references(raw);
    let parameter = causes.iter().find(|cause| template.parameters.contains_key(*cause));
    let resource = causes.iter().find(|cause| template.resources.contains_key(*cause));
    let (source, cause) = match (dynamic, resource, parameter) {
        (true, Some(resource), _) => ("ResourceReference", Some(resource)),
        (_, _, Some(parameter)) => ("ParameterReference", Some(parameter)),
        _ => ("DirectModification", None),
    };
    let mut detail = json!({
        "Target": target, "ChangeSource": source, "Evaluation": if dynamic { "Dynamic" } else { "Static" },
    });
    if let Some(cause) = cause {
        detail["CausingEntity"] = cause.as_str().into();
    }
    detail
}

fn removal(logical: &str, resource: &Resource) -> Value {
    let action = if resource.deletion == Policy::Delete { "Delete" } else { "Retain" };
    json!({"Type": "Resource", "ResourceChange": {
        "Action": "Remove", "LogicalResourceId": logical, "PhysicalResourceId": resource.physical,
        "ResourceType": resource.kind, "PolicyAction": action, "Scope": [], "Details": [],
    }})
}
