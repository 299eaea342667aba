//! CloudFormation's properties as an operation's input. The two spell the same members in different cases and write
//! numbers and flags as text; AWS's own model says which is which, so no list of exceptions is needed.

use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::model::{Kind, Models, Reference, ServiceModel};
use crate::services::Service;

/// Turns CloudFormation properties into the input of `operation`. Fails with a property that the operation does not have.
pub(crate) fn operation_input(service: Service, operation: &str, properties: &Value) -> Result<Value, String> {
    static MODELS: OnceLock<Result<Models, String>> = OnceLock::new();
    let models = MODELS.get_or_init(|| Models::embedded().map_err(|error| error.to_string())).as_ref();
    let model = models.map_err(Clone::clone)?.of(service).ok_or_else(|| format!("no model of {service}"))?;
    let input = model.operations.get(operation).and_then(|operation| operation.input.as_ref());
    let input = input.ok_or_else(|| format!("{service} {operation} has no modelled input"))?;
    adapt(model, input, properties, "")
}

fn adapt(model: &ServiceModel, reference: &Reference, value: &Value, path: &str) -> Result<Value, String> {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mismatch = |expected: &str| Err(format!("the property {path} should be {expected}, it is {value}"));
    match (&model.shape(reference).kind, value) {
        (Kind::Structure { members, .. }, Value::Object(properties)) => {
            let mut adapted = Map::new();
            for (name, property) in properties {
                let member = members.iter().find(|(member, _)| member.eq_ignore_ascii_case(name));
                let (member, reference) = member.ok_or_else(|| {
                    format!("the property {} is not supported by the embedded endpoint (localcloud)", at(name))
                })?;
                adapted.insert(member.clone(), adapt(model, reference, property, &at(name))?);
            }
            Ok(Value::Object(adapted))
        }
        (Kind::Structure { .. }, _) => mismatch("an object"),
        (Kind::List(member), Value::Array(items)) => {
            items.iter().map(|item| adapt(model, member, item, path)).collect()
        }
        (Kind::List(_), _) => mismatch("a list"),
        (Kind::Map { value: member, .. }, Value::Object(entries)) => entries
            .iter()
            .map(|(key, entry)| Ok((key.clone(), adapt(model, member, entry, &at(key))?)))
            .collect::<Result<Map<_, _>, String>>()
            .map(Value::Object),
        // Tags are a list of pairs in every template, and a map in some APIs.
        (Kind::Map { .. }, Value::Array(pairs)) => pairs
            .iter()
            .map(|pair| match (pair["Key"].as_str(), pair["Value"].as_str()) {
                (Some(key), Some(value)) => Ok((key.to_owned(), Value::String(value.to_owned()))),
                _ => Err(format!("the property {path} should be a list of keys and values, it has {pair}")),
            })
            .collect::<Result<Map<_, _>, String>>()
            .map(Value::Object),
        (Kind::Map { .. }, _) => mismatch("an object"),
        (Kind::String { .. }, Value::Number(_) | Value::Bool(_)) => Ok(Value::String(value.to_string())),
        // Policies and other documents are objects in templates and text in APIs.
        (Kind::String { .. }, Value::Object(_)) => Ok(Value::String(value.to_string())),
        (Kind::Integer, Value::String(text)) => match text.parse::<i64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => mismatch("a whole number"),
        },
        (Kind::Integer, Value::Number(number)) if number.as_f64().is_some_and(|n| n.fract() == 0.0) => {
            Ok(Value::from(number.as_f64().unwrap_or_default() as i64))
        }
        (Kind::Float, Value::String(text)) => match text.parse::<f64>() {
            Ok(number) => Ok(Value::from(number)),
            Err(_) => mismatch("a number"),
        },
        (Kind::Boolean, Value::String(text)) => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => mismatch("true or false"),
        },
        _ => Ok(value.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cases_and_scalars_follow_the_model() {
        let properties = json!({
            "Family": "f", "Cpu": 256,
            "ContainerDefinitions": [{
                "Name": "app", "Image": "i", "ReadonlyRootFilesystem": "true",
                "PortMappings": [{"ContainerPort": "8080"}],
                "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": "g", "Mixed-Case": "x"}},
            }],
        });
        let input = operation_input(Service::Ecs, "RegisterTaskDefinition", &properties);
        assert_eq!(
            input,
            Ok(json!({
                "family": "f", "cpu": "256",
                "containerDefinitions": [{
                    "name": "app", "image": "i", "readonlyRootFilesystem": true,
                    "portMappings": [{"containerPort": 8080}],
                    "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "Mixed-Case": "x"}},
                }],
            }))
        );
        let tags = operation_input(
            Service::Logs,
            "CreateLogGroup",
            &json!({"LogGroupName": "g", "Tags": [{"Key": "Env", "Value": "x"}]}),
        );
        assert_eq!(tags, Ok(json!({"logGroupName": "g", "tags": {"Env": "x"}})));
    }

    #[test]
    fn an_unknown_property_is_named() {
        let error = operation_input(Service::Ecs, "CreateCluster", &json!({"ClusterSettings": [], "Nope": 1}));
        assert_eq!(
            error.as_ref().map_err(String::as_str),
            Err("the property ClusterSettings is not supported by the embedded endpoint (localcloud)")
        );
    }
}
