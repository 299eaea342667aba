//! Templates: reading them, their parameters, and the order in which their resources depend on one another.

mod parameters;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::error::ApiError;

pub(super) use parameters::{GivenParameter, ParameterDeclaration};

/// AWS's limit for a template in a request body.
const MAX_BODY: usize = 51_200;

/// A template that is well formed: sections have their types, and no reference dangles.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) description: Option<String>,
    pub(super) parameters: BTreeMap<String, ParameterDeclaration>,
    pub(super) mappings: Value,
    pub(super) conditions: Map<String, Value>,
    pub(super) resources: BTreeMap<String, ResourceDeclaration>,
    pub(super) outputs: BTreeMap<String, OutputDeclaration>,
}

/// A template's resource.
#[derive(Debug, Clone)]
pub(super) struct ResourceDeclaration {
    pub(super) kind: String,
    pub(super) properties: Value,
    pub(super) depends_on: BTreeSet<String>,
    pub(super) condition: Option<String>,
    pub(super) deletion: Policy,
    pub(super) update_replace: Policy,
}

/// What becomes of a resource that the stack lets go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(super) enum Policy {
    #[default]
    Delete,
    Retain,
    /// Retain, but not when the very operation that created it is rolled back.
    RetainExceptOnCreate,
}

/// A template's output.
#[derive(Debug, Clone)]
pub(super) struct OutputDeclaration {
    pub(super) value: Value,
    pub(super) description: Option<String>,
    pub(super) export: Option<Value>,
    pub(super) condition: Option<String>,
}

/// The error code of every fault in a template or its parameters.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

impl Template {
    /// Reads JSON, or YAML without short forms.
    pub(super) fn parse(body: &str) -> Result<Self, ApiError> {
        if body.len() > MAX_BODY {
            return Err(invalid(format!(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: \
                 Member must have length less than or equal to {MAX_BODY}"
            )));
        }
        let document: Value = if body.trim_start().starts_with('{') {
            serde_json::from_str(body)
                .map_err(|error| invalid(format!("Template format error: JSON not well-formed. ({error})")))?
        } else {
            serde_yaml::from_str(body)
                .map_err(|error| invalid(format!("Template format error: YAML not well-formed. ({error})")))?
        };
        let Value::Object(document) = document else {
            return Err(invalid("Template format error: unsupported structure."));
        };
        for section in document.keys() {
            match section.as_str() {
                "AWSTemplateFormatVersion"
                | "Description"
                | "Parameters"
                | "Conditions"
                | "Mappings"
                | "Resources"
                | "Outputs"
                | "Metadata"
                | "Rules" => {}
                "Transform" => return Err(ApiError::unsupported("a template with a Transform")),
                other => {
                    return Err(invalid(format!("Invalid template property or properties [{other}]")));
                }
            }
        }
        let mut template = Self {
            description: document.get("Description").and_then(Value::as_str).map(str::to_owned),
            parameters: each(&document, "Parameters", parameters::read)?,
            mappings: document.get("Mappings").cloned().unwrap_or_default(),
            conditions: document.get("Conditions").and_then(Value::as_object).cloned().unwrap_or_default(),
            resources: each(&document, "Resources", resource)?,
            outputs: each(&document, "Outputs", output)?,
        };
        if template.resources.is_empty() {
            return Err(invalid("Template format error: At least one Resources member must be defined."));
        }
        template.check_references()?;
        let names: BTreeSet<String> = template.resources.keys().cloned().collect();
        for resource in template.resources.values_mut() {
            resource.depends_on.extend(references(&resource.properties).intersection(&names).cloned());
        }
        template.order()?;
        Ok(template)
    }

    /// The resources in an order in which each comes after everything it depends on.
    pub(super) fn order(&self) -> Result<Vec<String>, ApiError> {
        let mut ordered: Vec<String> = Vec::with_capacity(self.resources.len());
        let mut placed: BTreeSet<&str> = BTreeSet::new();
        while placed.len() < self.resources.len() {
            let before = placed.len();
            for (id, resource) in &self.resources {
                let ready = || resource.depends_on.iter().all(|needed| placed.contains(needed.as_str()));
                if !placed.contains(id.as_str()) && ready() {
                    placed.insert(id);
                    ordered.push(id.clone());
                }
            }
            if placed.len() == before {
                let circle: Vec<&str> =
                    self.resources.keys().map(String::as_str).filter(|id| !placed.contains(id)).collect();
                return Err(invalid(format!("Circular dependency between resources: [{}]", circle.join(", "))));
            }
        }
        Ok(ordered)
    }

    fn check_references(&self) -> Result<(), ApiError> {
        let mut dangling = BTreeSet::new();
        let known = |name: &str| self.resources.contains_key(name) || self.parameters.contains_key(name);
        for resource in self.resources.values() {
            dangling.extend(resource.depends_on.iter().filter(|name| !self.resources.contains_key(*name)).cloned());
            for name in references(&resource.properties).into_iter().filter(|name| !known(name)) {
                dangling.insert(name);
            }
        }
        if !dangling.is_empty() {
            let names: Vec<_> = dangling.into_iter().collect();
            return Err(invalid(format!(
                "Template format error: Unresolved resource dependencies [{}] in the Resources block of the template",
                names.join(", ")
            )));
        }
        for output in self.outputs.values() {
            if let Some(name) = references(&output.value).into_iter().find(|name| !known(name)) {
                return Err(invalid(format!(
                    "Template format error: Unresolved resource dependencies [{name}] in the Outputs block of the template"
                )));
            }
        }
        let used = self.resources.values().filter_map(|resource| resource.condition.as_ref());
        let used = used.chain(self.outputs.values().filter_map(|output| output.condition.as_ref()));
        for condition in used {
            if !self.conditions.contains_key(condition) {
                return Err(invalid(format!(
                    "Template format error: Unresolved condition dependency {condition} in the template"
                )));
            }
        }
        Ok(())
    }

    /// The capabilities that the caller must acknowledge, and why.
    pub(super) fn required_capabilities(&self) -> Option<(&'static str, String)> {
        let is_iam = |resource: &&ResourceDeclaration| resource.kind.starts_with("AWS::IAM::");
        let kinds: BTreeSet<&str> =
            self.resources.values().filter(is_iam).map(|resource| resource.kind.as_str()).collect();
        if kinds.is_empty() {
            return None;
        }
        let name_property = ["RoleName", "UserName", "GroupName", "ManagedPolicyName", "InstanceProfileName"];
        let named = self
            .resources
            .values()
            .filter(is_iam)
            .any(|resource| name_property.iter().any(|name| resource.properties.get(name).is_some()));
        let reason = format!(
            "The following resource(s) require capabilities: [{}]",
            kinds.into_iter().collect::<Vec<_>>().join(", ")
        );
        Some((if named { "CAPABILITY_NAMED_IAM" } else { "CAPABILITY_IAM" }, reason))
    }

    /// Fails as AWS does when the caller has not acknowledged what the template does to IAM.
    pub(super) fn check_capabilities(&self, given: &[String]) -> Result<(), ApiError> {
        let Some((needed, _)) = self.required_capabilities() else { return Ok(()) };
        let enough = given.iter().any(|given| given == needed || given == "CAPABILITY_NAMED_IAM");
        if enough {
            return Ok(());
        }
        Err(ApiError::new("InsufficientCapabilitiesException", format!("Requires capabilities : [{needed}]")))
    }
}

/// Every resource or parameter that a value refers to; pseudo parameters are left out.
pub(super) fn references(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => {
            if members.len() == 1 {
                let (name, argument) = members.iter().next().map_or(("", &Value::Null), |(n, a)| (n.as_str(), a));
                match (name, argument) {
                    ("Ref", Value::String(name)) => return add(name, found),
                    ("Fn::GetAtt", Value::Array(parts)) => {
                        return add(parts.first().and_then(Value::as_str).unwrap_or_default(), found);
                    }
                    ("Fn::GetAtt", Value::String(path)) => {
                        return add(path.split('.').next().unwrap_or_default(), found);
                    }
                    ("Fn::Sub", Value::String(text)) => {
                        return substitutions(text)
                            .iter()
                            .for_each(|name| add(name.split('.').next().unwrap_or_default(), found));
                    }
                    ("Fn::Sub", Value::Array(parts)) => {
                        let own = parts.get(1).and_then(Value::as_object);
                        let text = parts.first().and_then(Value::as_str).unwrap_or_default();
                        for name in substitutions(text) {
                            if own.is_none_or(|own| !own.contains_key(&name)) {
                                add(name.split('.').next().unwrap_or_default(), found);
                            }
                        }
                        return own.into_iter().flat_map(Map::values).for_each(|value| collect(value, found));
                    }
                    _ => {}
                }
            }
            members.values().for_each(|member| collect(member, found));
        }
        _ => {}
    }
}

fn add(name: &str, found: &mut BTreeSet<String>) {
    if !name.starts_with("AWS::") {
        found.insert(name.to_owned());
    }
}

/// The names in `${…}` of a text, without literals `${!…}`.
pub(super) fn substitutions(text: &str) -> Vec<String> {
    let mut names = vec![];
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        rest = &rest[start + 2..];
        let Some(end) = rest.find('}') else { break };
        let name = &rest[..end];
        if !name.starts_with('!') {
            names.push(name.trim().to_owned());
        }
        rest = &rest[end + 1..];
    }
    names
}

fn each<T>(
    document: &Map<String, Value>,
    section: &str,
    read: impl Fn(&str, &Map<String, Value>) -> Result<T, ApiError>,
) -> Result<BTreeMap<String, T>, ApiError> {
    let Some(value) = document.get(section) else { return Ok(BTreeMap::new()) };
    let malformed = || invalid(format!("Template format error: Every {section} member must be an object."));
    let members = value.as_object().ok_or_else(malformed)?;
    members
        .iter()
        .map(|(name, value)| Ok((name.clone(), read(name, value.as_object().ok_or_else(malformed)?)?)))
        .collect()
}

/// A scalar as text, as CloudFormation treats parameters.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn resource(name: &str, declaration: &Map<String, Value>) -> Result<ResourceDeclaration, ApiError> {
    let text = |key: &str| declaration.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("Type").ok_or_else(|| {
        invalid(format!(
            "Template format error: [/Resources/{name}] Every Resources object must contain a Type member."
        ))
    })?;
    let policy = |key: &str| match declaration.get(key).and_then(Value::as_str) {
        None | Some("Delete") => Ok(Policy::Delete),
        Some("Retain") => Ok(Policy::Retain),
        Some("RetainExceptOnCreate") => Ok(Policy::RetainExceptOnCreate),
        Some(other) => Err(ApiError::unsupported(format_args!("the {key} {other} of resource {name}"))),
    };
    let properties = declaration.get("Properties").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let mut depends_on = BTreeSet::new();
    match declaration.get("DependsOn") {
        Some(Value::String(one)) => {
            depends_on.insert(one.clone());
        }
        Some(Value::Array(many)) => depends_on.extend(many.iter().filter_map(Value::as_str).map(str::to_owned)),
        _ => {}
    }
    Ok(ResourceDeclaration {
        kind,
        properties,
        depends_on,
        condition: text("Condition"),
        deletion: policy("DeletionPolicy")?,
        update_replace: policy("UpdateReplacePolicy")?,
    })
}

fn output(name: &str, declaration: &Map<String, Value>) -> Result<OutputDeclaration, ApiError> {
    let value = declaration.get("Value").cloned().ok_or_else(|| {
        invalid(format!(
            "Template format error: Output {name} is malformed: every Outputs member must contain a Value object"
        ))
    })?;
    let text = |key: &str| declaration.get(key).and_then(Value::as_str).map(str::to_owned);
    Ok(OutputDeclaration {
        value,
        description: text("Description"),
        export: declaration.get("Export").and_then(|export| export.get("Name")).cloned(),
        condition: text("Condition"),
    })
}
