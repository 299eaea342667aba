//! Intrinsic functions: a template's values become the values that resources are made of.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::template::{Template, scalar_text};
use crate::cloud::ACCOUNT;

/// What `Ref` and `Fn::GetAtt` see of a resource.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Attributes {
    /// What `Ref` gives.
    pub(super) reference: String,
    /// What `Fn::GetAtt` gives.
    pub(super) attributes: BTreeMap<String, Value>,
}

/// Stands for a value that is known only once its resource exists. Contained in, not equal to, a value of a preview.
pub(super) const UNKNOWN: &str = "{{known after apply}}";

/// Everything that values of one stack are evaluated against.
pub(super) struct Scope<'a> {
    pub(super) template: &'a Template,
    pub(super) parameters: &'a BTreeMap<String, String>,
    pub(super) region: &'a str,
    pub(super) stack_id: &'a str,
    pub(super) stack_name: &'a str,
    /// The resources that exist, by logical id.
    pub(super) resources: &'a dyn Fn(&str) -> Option<Attributes>,
    /// Exports of all stacks, by name.
    pub(super) exports: &'a BTreeMap<String, String>,
    /// Whether a resource that does not exist yet gives [`UNKNOWN`] (a preview) or fails.
    pub(super) preview: bool,
    /// The exports that were read.
    pub(super) imports: RefCell<BTreeSet<String>>,
}

/// Why a value cannot be evaluated.
pub(super) type Failure = String;

/// `Ref: AWS::NoValue` while a value is being evaluated: its property is left out.
enum Evaluated {
    Value(Value),
    Nothing,
}

impl Scope<'_> {
    /// Evaluates a value.
    pub(super) fn evaluate(&self, value: &Value) -> Result<Value, Failure> {
        Ok(match self.inner(value)? {
            Evaluated::Value(value) => value,
            Evaluated::Nothing => Value::Null,
        })
    }

    /// Evaluates a value to text.
    pub(super) fn text(&self, value: &Value) -> Result<String, Failure> {
        let value = self.evaluate(value)?;
        scalar_text(&value).ok_or_else(|| format!("a string is expected where the template has {value}"))
    }

    /// Evaluates a named condition; no name is true.
    pub(super) fn holds(&self, condition: Option<&String>) -> Result<bool, Failure> {
        let Some(name) = condition else { return Ok(true) };
        let condition =
            self.template.conditions.get(name).ok_or_else(|| format!("the condition {name} is not defined"))?;
        self.condition(condition, 0)
    }

    fn condition(&self, value: &Value, depth: usize) -> Result<bool, Failure> {
        if depth > 32 {
            return Err("conditions refer to one another in a circle".to_owned());
        }
        let Some((name, argument)) = single(value) else {
            return match value {
                Value::Bool(flag) => Ok(*flag),
                _ => Err(format!("{value} is not a condition")),
            };
        };
        let items = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match name {
            "Condition" => {
                let name = argument.as_str().unwrap_or_default();
                let named =
                    self.template.conditions.get(name).ok_or_else(|| format!("the condition {name} is not defined"))?;
                self.condition(named, depth + 1)
            }
            "Fn::Equals" => match items {
                [left, right] => {
                    let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                    Ok(scalar_text(&left).unwrap_or_else(|| left.to_string())
                        == scalar_text(&right).unwrap_or_else(|| right.to_string()))
                }
                _ => Err("Fn::Equals takes two values".to_owned()),
            },
            "Fn::Not" => match items {
                [one] => Ok(!self.condition(one, depth + 1)?),
                _ => Err("Fn::Not takes one condition".to_owned()),
            },
            "Fn::And" => items.iter().try_fold(true, |all, item| Ok(self.condition(item, depth + 1)? && all)),
            "Fn::Or" => items.iter().try_fold(false, |any, item| Ok(self.condition(item, depth + 1)? || any)),
            other => Err(format!("{other} is not a condition function")),
        }
    }

    fn inner(&self, value: &Value) -> Result<Evaluated, Failure> {
        if let Some((name, argument)) = single(value) {
            if name == "Ref" && argument == "AWS::NoValue" {
                return Ok(Evaluated::Nothing);
            }
            if name == "Fn::If" {
                let Some([condition, yes, no]) = argument.as_array().map(Vec::as_slice) else {
                    return Err("Fn::If takes a condition and two values".to_owned());
                };
                let condition = condition.as_str().unwrap_or_default().to_owned();
                return self.inner(if self.holds(Some(&condition))? { yes } else { no });
            }
            if name == "Ref" || name.starts_with("Fn::") {
                return self.function(name, argument).map(Evaluated::Value);
            }
        }
        Ok(Evaluated::Value(match value {
            Value::Array(items) => {
                let mut evaluated = Vec::with_capacity(items.len());
                for item in items {
                    if let Evaluated::Value(item) = self.inner(item)? {
                        evaluated.push(item);
                    }
                }
                Value::Array(evaluated)
            }
            Value::Object(members) => {
                let mut evaluated = Map::new();
                for (name, member) in members {
                    if let Evaluated::Value(member) = self.inner(member)? {
                        evaluated.insert(name.clone(), member);
                    }
                }
                Value::Object(evaluated)
            }
            scalar => scalar.clone(),
        }))
    }

    fn function(&self, name: &str, argument: &Value) -> Result<Value, Failure> {
        let items = argument.as_array().map(Vec::as_slice);
        match (name, items) {
            ("Ref", _) => self.reference(argument.as_str().unwrap_or_default()),
            ("Fn::GetAtt", Some([resource, attribute])) => {
                self.attribute(resource.as_str().unwrap_or_default(), &self.text(attribute)?)
            }
            ("Fn::GetAtt", None) => {
                let path = argument.as_str().unwrap_or_default();
                let (resource, attribute) =
                    path.split_once('.').ok_or_else(|| format!("Fn::GetAtt {path} names no attribute"))?;
                self.attribute(resource, attribute)
            }
            ("Fn::Sub", None) => self.substitute(argument.as_str().unwrap_or_default(), &Map::new()),
            ("Fn::Sub", Some([text, variables])) => {
                let variables = variables.as_object().cloned().unwrap_or_default();
                self.substitute(text.as_str().unwrap_or_default(), &variables)
            }
            ("Fn::Join", Some([delimiter, values])) => {
                let values = self.evaluate(values)?;
                let values = values.as_array().ok_or("Fn::Join takes a list of values")?;
                let parts: Vec<String> = values.iter().filter_map(scalar_text).collect();
                Ok(Value::String(parts.join(delimiter.as_str().unwrap_or_default())))
            }
            ("Fn::Split", Some([delimiter, text])) => {
                let text = self.text(text)?;
                let delimiter = delimiter.as_str().filter(|d| !d.is_empty()).ok_or("Fn::Split needs a delimiter")?;
                Ok(text.split(delimiter).map(|part| Value::String(part.to_owned())).collect())
            }
            ("Fn::Select", Some([index, values])) => {
                let index: usize =
                    self.text(index)?.parse().map_err(|_| "Fn::Select takes a number as its index".to_owned())?;
                let values = self.evaluate(values)?;
                let chosen = values.as_array().and_then(|values| values.get(index)).cloned();
                match chosen {
                    Some(value) => Ok(value),
                    None if self.preview && values.to_string().contains(UNKNOWN) => Ok(UNKNOWN.into()),
                    None => Err(format!("Fn::Select cannot select nonexistent value at index {index}")),
                }
            }
            ("Fn::FindInMap", Some([map, first, second])) => {
                let keys = [self.text(map)?, self.text(first)?, self.text(second)?];
                let found = keys.iter().try_fold(&self.template.mappings, |value, key| value.get(key));
                found.cloned().ok_or_else(|| format!("Mappings have no {}", keys.join(".")))
            }
            ("Fn::GetAZs", _) => {
                Ok(['a', 'c', 'd'].iter().map(|zone| Value::String(format!("{}{zone}", self.region))).collect())
            }
            ("Fn::Base64", _) => {
                Ok(Value::String(base64::engine::general_purpose::STANDARD.encode(self.text(argument)?)))
            }
            ("Fn::Cidr", Some([block, count, ..])) => {
                let bits = items.and_then(|items| items.get(2)).map_or(Ok("8".to_owned()), |bits| self.text(bits))?;
                cidr(&self.text(block)?, &self.text(count)?, &bits)
            }
            ("Fn::ImportValue", _) => {
                let name = self.text(argument)?;
                let value = self.exports.get(&name).ok_or_else(|| format!("No export named {name} found."))?;
                self.imports.borrow_mut().insert(name);
                Ok(Value::String(value.clone()))
            }
            _ => Err(format!("{name} with these arguments is not supported by the embedded endpoint (localcloud)")),
        }
    }

    fn reference(&self, name: &str) -> Result<Value, Failure> {
        let text = |text: &str| Ok(Value::String(text.to_owned()));
        match name {
            "AWS::Region" => text(self.region),
            "AWS::AccountId" => text(ACCOUNT),
            "AWS::Partition" => text("aws"),
            "AWS::URLSuffix" => text("amazonaws.com"),
            "AWS::StackName" => text(self.stack_name),
            "AWS::StackId" => text(self.stack_id),
            "AWS::NotificationARNs" => Ok(json!([])),
            _ => {
                if let (Some(value), Some(declaration)) =
                    (self.parameters.get(name), self.template.parameters.get(name))
                {
                    return if declaration.is_list() {
                        Ok(value.split(',').map(|item| Value::String(item.trim().to_owned())).collect())
                    } else {
                        text(value)
                    };
                }
                match (self.resources)(name) {
                    Some(resource) => text(&resource.reference),
                    None if self.preview => text(UNKNOWN),
                    None => Err(format!("Unresolved resource dependencies [{name}]")),
                }
            }
        }
    }

    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value, Failure> {
        match (self.resources)(resource) {
            Some(found) => found.attributes.get(attribute).cloned().ok_or_else(|| {
                let kind = self.template.resources.get(resource).map_or("", |declaration| declaration.kind.as_str());
                format!("Requested attribute {attribute} of {resource} ({kind}) does not exist in schema or is not supported by the embedded endpoint")
            }),
            None if self.preview => Ok(UNKNOWN.into()),
            None => Err(format!("Unresolved resource dependencies [{resource}]")),
        }
    }

    fn substitute(&self, text: &str, variables: &Map<String, Value>) -> Result<Value, Failure> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            result.push_str(&rest[..start]);
            rest = &rest[start + 2..];
            let end = rest.find('}').ok_or_else(|| format!("Fn::Sub text has an unclosed ${{: {text}"))?;
            let name = rest[..end].trim();
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str(&format!("${{{literal}}}"));
            } else {
                let value = match (variables.get(name), name.split_once('.')) {
                    (Some(variable), _) => self.evaluate(variable)?,
                    (None, Some((resource, attribute))) => self.attribute(resource, attribute)?,
                    (None, None) => self.reference(name)?,
                };
                result.push_str(&scalar_text(&value).ok_or_else(|| format!("${{{name}}} is not a string"))?);
            }
            rest = &rest[end + 1..];
        }
        result.push_str(rest);
        Ok(Value::String(result))
    }
}

fn single(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object().filter(|members| members.len() == 1)?;
    members.iter().next().map(|(name, argument)| (name.as_str(), argument))
}

fn cidr(block: &str, count: &str, bits: &str) -> Result<Value, Failure> {
    let fail = || format!("Fn::Cidr cannot split {block} into {count} blocks of {bits} bits");
    let (address, _) = block.split_once('/').ok_or_else(fail)?;
    let address: std::net::Ipv4Addr = address.parse().map_err(|_| fail())?;
    let (count, bits): (u64, u32) = (count.parse().map_err(|_| fail())?, bits.parse().map_err(|_| fail())?);
    if bits >= 32 || count > 256 {
        return Err(fail());
    }
    let base = u64::from(u32::from(address));
    let blocks = (0..count).map(|index| {
        let start = u32::try_from(base + (index << bits)).map_err(|_| fail())?;
        Ok(Value::String(format!("{}/{}", std::net::Ipv4Addr::from(start), 32 - bits)))
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(value: Value) -> Result<Value, Failure> {
        let body = json!({
            "Parameters": {"Env": {"Type": "String"}, "Zones": {"Type": "CommaDelimitedList"}},
            "Mappings": {"Size": {"staging": {"cpu": "256"}}},
            "Conditions": {"IsProd": {"Fn::Equals": [{"Ref": "Env"}, "production"]}},
            "Resources": {"Repo": {"Type": "AWS::ECR::Repository"}},
        });
        let template = Template::parse(&body.to_string()).map_err(|error| error.to_string())?;
        let parameters = BTreeMap::from([("Env".into(), "staging".into()), ("Zones".into(), "a, b".into())]);
        let exports = BTreeMap::from([("net-Vpc".to_owned(), "vpc-1".to_owned())]);
        let resources = |name: &str| {
            (name == "Repo").then(|| Attributes {
                reference: "repo".into(),
                attributes: BTreeMap::from([("Arn".into(), json!("arn:repo"))]),
            })
        };
        let scope = Scope {
            template: &template,
            parameters: &parameters,
            region: "ap-northeast-1",
            stack_id: "id",
            stack_name: "name",
            resources: &resources,
            exports: &exports,
            preview: false,
            imports: RefCell::default(),
        };
        scope.evaluate(&value)
    }

    #[test]
    fn functions_give_what_aws_gives() {
        for (value, expected) in [
            (json!({"Ref": "Repo"}), json!("repo")),
            (json!({"Fn::GetAtt": ["Repo", "Arn"]}), json!("arn:repo")),
            (
                json!({"Fn::Sub": "${Env}-${Repo.Arn}-${!Literal}-${AWS::Region}"}),
                json!("staging-arn:repo-${Literal}-ap-northeast-1"),
            ),
            (json!({"Fn::Sub": ["${x}/${Repo}", {"x": {"Ref": "Env"}}]}), json!("staging/repo")),
            (json!({"Fn::Join": ["-", ["a", {"Ref": "Env"}]]}), json!("a-staging")),
            (json!({"Fn::Select": [1, {"Ref": "Zones"}]}), json!("b")),
            (json!({"Fn::Select": ["0", {"Fn::GetAZs": ""}]}), json!("ap-northeast-1a")),
            (json!({"Fn::Split": [",", "a,b"]}), json!(["a", "b"])),
            (json!({"Fn::If": ["IsProd", 1, 2]}), json!(2)),
            (json!({"a": {"Fn::If": ["IsProd", 1, {"Ref": "AWS::NoValue"}]}, "b": 1}), json!({"b": 1})),
            (json!({"Fn::FindInMap": ["Size", {"Ref": "Env"}, "cpu"]}), json!("256")),
            (json!({"Fn::ImportValue": "net-Vpc"}), json!("vpc-1")),
            (json!({"Fn::Base64": "hi"}), json!("aGk=")),
            (json!({"Fn::Cidr": ["10.0.0.0/16", 2, 8]}), json!(["10.0.0.0/24", "10.0.1.0/24"])),
        ] {
            assert_eq!(evaluate(value.clone()), Ok(expected), "{value}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(evaluate(json!({"Fn::ImportValue": "nope"})), Err("No export named nope found.".to_owned()));
        assert!(evaluate(json!({"Fn::GetAtt": ["Repo", "Nope"]})).unwrap_err().contains("Nope"));
        assert!(evaluate(json!({"Fn::Transform": {}})).unwrap_err().contains("not supported"));
    }
}
