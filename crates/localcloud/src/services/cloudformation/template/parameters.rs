//! A template's parameters: what they allow, and the values they get.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Template, invalid, scalar_text};
use crate::error::ApiError;

/// A template's parameter.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct ParameterDeclaration {
    pub(in super::super) kind: String,
    pub(in super::super) default: Option<String>,
    pub(in super::super) description: Option<String>,
    pub(in super::super) no_echo: bool,
    allowed_values: Vec<String>,
    allowed_pattern: Option<String>,
    constraint: Option<String>,
    bounds: [Option<f64>; 4],
}

/// A parameter as the caller gives it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct GivenParameter {
    pub(in super::super) parameter_key: String,
    #[serde(default)]
    pub(in super::super) parameter_value: Option<String>,
    #[serde(default)]
    pub(in super::super) use_previous_value: bool,
}

impl ParameterDeclaration {
    fn check(&self, key: &str, value: &str) -> Result<(), ApiError> {
        let fail = |what: String| {
            let what = self.constraint.clone().unwrap_or(what);
            Err(invalid(format!("Parameter {key} failed to satisfy constraint: {what}")))
        };
        if !self.allowed_values.is_empty() && !self.allowed_values.iter().any(|allowed| allowed == value) {
            return fail(format!("Parameter '{key}' must be one of AllowedValues"));
        }
        if let Some(pattern) = &self.allowed_pattern {
            let regex = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|error| invalid(format!("Template format error: AllowedPattern of {key}: {error}")))?;
            if !regex.is_match(value) {
                return fail(format!("Parameter {key} must match pattern {pattern}"));
            }
        }
        let [min_length, max_length, min, max] = self.bounds;
        let length = value.chars().count() as f64;
        if min_length.is_some_and(|min| length < min) || max_length.is_some_and(|max| length > max) {
            return fail(format!("Parameter {key} has a length outside MinLength and MaxLength"));
        }
        if self.kind == "Number" {
            let Ok(number) = value.parse::<f64>() else {
                return Err(invalid(format!("Parameter '{key}' must be a number.")));
            };
            if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
                return fail(format!("Parameter {key} is outside MinValue and MaxValue"));
            }
        }
        Ok(())
    }

    /// True when the value is a list in the template and a comma-separated text outside.
    pub(in super::super) fn is_list(&self) -> bool {
        self.kind == "CommaDelimitedList" || self.kind.starts_with("List<")
    }
}

impl Template {
    /// The values of all parameters from what the caller gave, what the stack had, and the defaults.
    pub(in super::super) fn parameter_values(
        &self,
        given: &[GivenParameter],
        previous: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, ApiError> {
        let unknown: Vec<&str> = given
            .iter()
            .map(|given| given.parameter_key.as_str())
            .filter(|key| !self.parameters.contains_key(*key))
            .collect();
        if !unknown.is_empty() {
            return Err(invalid(format!("Parameters: [{}] do not exist in the template", unknown.join(", "))));
        }
        let (mut values, mut missing) = (BTreeMap::new(), vec![]);
        for (key, declaration) in &self.parameters {
            let given = given.iter().find(|given| given.parameter_key == *key);
            let value = match given {
                Some(given) if given.use_previous_value => previous.get(key).cloned(),
                Some(given) => given.parameter_value.clone(),
                None => None,
            };
            match value.or_else(|| declaration.default.clone()) {
                Some(value) => {
                    declaration.check(key, &value)?;
                    values.insert(key.clone(), value);
                }
                None => missing.push(key.as_str()),
            }
        }
        if missing.is_empty() {
            Ok(values)
        } else {
            Err(invalid(format!("Parameters: [{}] must have values", missing.join(", "))))
        }
    }
}

/// Reads a member of the template's Parameters.
pub(super) fn read(name: &str, declaration: &Map<String, Value>) -> Result<ParameterDeclaration, ApiError> {
    let text = |key: &str| declaration.get(key).and_then(scalar_text);
    let number = |key: &str| text(key).and_then(|text| text.parse().ok());
    let kind = text("Type").ok_or_else(|| {
        invalid(format!("Template format error: Every Parameters object must contain a Type member. ({name})"))
    })?;
    if kind.starts_with("AWS::SSM::Parameter::Value") {
        return Err(ApiError::unsupported(format_args!("the parameter type {kind} of parameter {name}")));
    }
    Ok(ParameterDeclaration {
        kind,
        default: text("Default"),
        description: text("Description"),
        no_echo: text("NoEcho").as_deref() == Some("true"),
        allowed_values: declaration
            .get("AllowedValues")
            .and_then(Value::as_array)
            .map(|values| values.iter().filter_map(scalar_text).collect())
            .unwrap_or_default(),
        allowed_pattern: text("AllowedPattern"),
        constraint: text("ConstraintDescription"),
        bounds: [number("MinLength"), number("MaxLength"), number("MinValue"), number("MaxValue")],
    })
}
