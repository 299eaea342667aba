//! A template to look into: fields that know where they are, and what they refer to.

use serde_json::Value as Json;

use super::yaml;

/// A template with its name.
#[derive(Debug, Clone)]
pub struct Document {
    name: String,
    json: Json,
}

/// What is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{file}: {problem}\n  hint: {hint}")]
pub struct Malformed {
    /// Name of the file.
    pub file: String,
    /// Why it is none.
    pub problem: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl Document {
    /// A template that is at hand.
    pub fn new(name: impl Into<String>, json: Json) -> Self {
        Document { name: name.into(), json }
    }

    /// A template's text: JSON, or YAML with short or long functions.
    pub fn parse(name: &str, text: &str) -> Result<Self, Malformed> {
        let malformed = |problem: String, hint| Malformed { file: name.to_owned(), problem, hint };
        let json = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| malformed(error.to_string(), "correct the JSON"))?
        } else {
            yaml::to_json(text).map_err(|error| malformed(error.to_string(), "correct the YAML"))?
        };
        let Some(resources) = json["Resources"].as_object().filter(|resources| !resources.is_empty()) else {
            return Err(malformed("no resources".to_owned(), "name CloudFormation templates"));
        };
        let mut own = resources.iter().filter(|(id, _)| is_resource(id));
        if let Some((id, _)) = own.find(|(_, resource)| !resource["Type"].is_string()) {
            return Err(malformed(format!("the resource {id} has no type"), "add its Type, such as AWS::S3::Bucket"));
        }
        Ok(Document::new(name, json))
    }

    /// Name of the stack or file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The template.
    pub fn json(&self) -> &Json {
        &self.json
    }

    pub(super) fn all<'a>(&'a self, templates: &'a [Document]) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        let resources = self.json["Resources"].as_object().into_iter().flatten();
        resources.filter(|(id, _)| is_resource(id)).map(move |(id, resource)| {
            let kind = resource["Type"].as_str().unwrap_or_default();
            (kind, self.properties(templates, id, resource))
        })
    }

    pub(super) fn resources<'a>(
        &'a self,
        templates: &'a [Document],
        kind: &'static str,
    ) -> impl Iterator<Item = Field<'a>> {
        self.all(templates).filter(move |(of, _)| *of == kind).map(|(_, field)| field)
    }

    fn properties<'a>(&'a self, templates: &'a [Document], id: &'a str, resource: &'a Json) -> Field<'a> {
        Field { templates, document: self, resource: id, path: String::new(), json: &resource["Properties"] }
    }

    /// The outputs with an export: its name and the value.
    pub(super) fn exports<'a>(&'a self, templates: &'a [Document]) -> impl Iterator<Item = (String, Field<'a>)> {
        let outputs = self.json["Outputs"].as_object().into_iter().flatten();
        outputs.filter_map(move |(id, output)| {
            let field = |json| Field { templates, document: self, resource: id, path: String::new(), json };
            Some((field(&output["Export"]["Name"]).rendered()?, field(&output["Value"])))
        })
    }
}

/// Transforms and loops stand among the resources without being one.
fn is_resource(id: &str) -> bool {
    !id.starts_with("Fn::")
}

/// A value somewhere in a template.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    templates: &'a [Document],
    document: &'a Document,
    resource: &'a str,
    path: String,
    json: &'a Json,
}

/// Stands for what is known only when the stack exists; valid inside a JSON text and alone.
const UNKNOWN: &str = "0";

impl<'a> Field<'a> {
    /// The value; null if there is none.
    pub(super) fn json(&self) -> &'a Json {
        self.json
    }

    /// Names of the stack and of the resource.
    pub(super) fn place(&self) -> (&'a str, &'a str) {
        (&self.document.name, self.resource)
    }

    /// Path below the resource's properties.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The template that it is in.
    pub(super) fn document(&self) -> &'a Document {
        self.document
    }

    /// The whole resource: type, policies, dependencies.
    pub(super) fn whole_resource(&self) -> &'a Json {
        &self.document.json["Resources"][self.resource]
    }

    /// Whether both are in the same resource.
    pub(super) fn same_resource(&self, other: &Field<'_>) -> bool {
        self.place() == other.place()
    }

    pub(super) fn exists(&self) -> bool {
        !decided(self.json).is_null()
    }

    /// The member of that name.
    pub(super) fn at(&self, key: &str) -> Field<'a> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Field { path, json: &decided(self.json)[key], ..self.clone() }
    }

    /// The elements of a list; a lone value is a list of one.
    pub(super) fn items(&self) -> Vec<Field<'a>> {
        match decided(self.json) {
            Json::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, json)| Field { path: format!("{}[{index}]", self.path), json, ..self.clone() })
                .filter(Field::exists)
                .collect(),
            Json::Null => Vec::new(),
            json => vec![Field { json, ..self.clone() }],
        }
    }

    /// The members of an object.
    pub(super) fn members(&self) -> Vec<(&'a str, Field<'a>)> {
        let members = decided(self.json).as_object().into_iter().flatten();
        members.map(|(key, _)| (key.as_str(), self.at(key))).collect()
    }

    /// All that the value may be, whatever conditions say.
    pub(super) fn branches(&self) -> Vec<Field<'a>> {
        let branches = match self.function() {
            Some(("Fn::If", Json::Array(parts))) => parts.get(1..).unwrap_or_default(),
            _ => std::slice::from_ref(self.json),
        };
        branches.iter().map(|json| Field { json, ..self.clone() }).collect()
    }

    /// The function, if the value is one: its name and argument.
    pub(super) fn function(&self) -> Option<(&'a str, &'a Json)> {
        function(self.json)
    }

    /// The text, if it is known: a literal, or a parameter's default.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.known().as_str()
    }

    /// All texts of a list or of a lone value that are known.
    pub(super) fn texts(&self) -> Vec<&'a str> {
        self.items().iter().filter_map(Field::text).collect()
    }

    /// The number, if it is known; CloudFormation takes texts for numbers.
    pub(super) fn number(&self) -> Option<f64> {
        match self.known() {
            Json::Number(number) => number.as_f64(),
            Json::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The truth value, if it is known.
    pub(super) fn truth(&self) -> Option<bool> {
        match self.known() {
            Json::Bool(value) => Some(*value),
            Json::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether it is true, or may be: what is known only when the stack exists is nobody's mistake yet.
    pub(super) fn may_be_true(&self) -> bool {
        self.truth().unwrap_or_else(|| self.function().is_some())
    }

    /// The value, or a parameter's default; an empty one stands for what is given later.
    fn known(&self) -> &'a Json {
        let json = decided(self.json);
        match function(json) {
            Some(("Ref", Json::String(name))) => match &self.document.json["Parameters"][name.as_str()]["Default"] {
                Json::String(text) if text.is_empty() => &Json::Null,
                default => default,
            },
            _ => json,
        }
    }

    /// The text with a placeholder for what is not known yet; nothing if no part of it is known.
    pub(super) fn rendered(&self) -> Option<String> {
        let json = decided(self.json);
        match (self.known(), function(json)) {
            (Json::String(text), _) => Some(text.clone()),
            (_, Some(("Fn::Sub" | "Fn::Join", _))) => Some(render(json)),
            _ => None,
        }
    }

    /// The properties of the resource that the value refers to, in this template or by import in another one.
    pub(super) fn target(&self) -> Option<Field<'a>> {
        let (name, argument) = function(decided(self.json))?;
        if name == "Fn::ImportValue" {
            let argument = Field { json: argument, ..self.clone() }.rendered()?;
            let mut exports = self.templates.iter().flat_map(|document| document.exports(self.templates));
            return exports.find(|(export, _)| *export == argument).and_then(|(_, value)| value.target());
        }
        let id = match (name, argument) {
            ("Ref", Json::String(id)) => id,
            ("Fn::GetAtt", Json::Array(parts)) => parts.first()?.as_str()?,
            ("Fn::GetAtt", Json::String(path)) => path.split('.').next()?,
            ("Fn::Sub", Json::String(text)) => text.strip_prefix("${")?.strip_suffix('}')?.split('.').next()?,
            _ => return None,
        };
        let (id, resource) = self.document.json["Resources"].as_object()?.get_key_value(id)?;
        Some(self.document.properties(self.templates, id, resource))
    }
}

/// The value where a condition decides about it: as if it held, or the other one where it is none then. So rules judge
/// one template that may be, and not a mixture of several.
fn decided(json: &Json) -> &Json {
    match function(json) {
        Some(("Fn::If", Json::Array(parts))) => {
            let mut branches = parts.iter().skip(1).map(decided);
            branches.find(|branch| !branch.is_null()).unwrap_or(&Json::Null)
        }
        Some(("Ref", Json::String(name))) if name == "AWS::NoValue" => &Json::Null,
        _ => json,
    }
}

/// The function, if the value is one.
pub(super) fn function(json: &Json) -> Option<(&str, &Json)> {
    let fields = json.as_object().filter(|fields| fields.len() == 1)?;
    let (name, argument) = fields.iter().next()?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name.as_str(), argument))
}

/// The names between `${` and `}` of a text for `Fn::Sub`, and the text with placeholders for them.
pub(super) fn substitutions(text: &str) -> (Vec<&str>, String) {
    let mut names = Vec::new();
    let mut parts = text.split("${");
    let mut rendered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((name, rest)) if !name.starts_with('!') => {
                names.push(name.trim());
                rendered.push_str(UNKNOWN);
                rendered.push_str(rest);
            }
            _ => {
                rendered.push_str("${");
                rendered.push_str(part.trim_start_matches('!'));
            }
        }
    }
    (names, rendered)
}

fn render(json: &Json) -> String {
    match (json, function(json)) {
        (_, Some(("Fn::Sub", Json::String(text)))) => substitutions(text).1,
        (_, Some(("Fn::Sub", Json::Array(parts)))) => {
            parts.first().and_then(Json::as_str).map_or_else(String::new, |text| substitutions(text).1)
        }
        (_, Some(("Fn::Join", Json::Array(parts)))) => {
            let separator = parts.first().and_then(Json::as_str).unwrap_or_default();
            let rest = parts.get(1).and_then(Json::as_array).into_iter().flatten();
            rest.map(render).collect::<Vec<_>>().join(separator)
        }
        (_, Some(_)) => UNKNOWN.to_owned(),
        (Json::String(text), None) => text.clone(),
        (other, None) => other.to_string(),
    }
}

/// Whether a value refers to a logical id anywhere.
pub(super) fn mentions(json: &Json, id: &str) -> bool {
    let mut found = Vec::new();
    references(json, &mut found);
    found.contains(&id)
}

/// The logical ids and parameters that a value refers to.
pub(super) fn references<'a>(json: &'a Json, found: &mut Vec<&'a str>) {
    match (function(json), json) {
        (Some(("Ref", Json::String(name))), _) => found.push(name),
        (Some(("Fn::GetAtt", Json::String(path))), _) => found.extend(path.split('.').next()),
        (Some(("Fn::GetAtt", Json::Array(parts))), _) => found.extend(parts.first().and_then(Json::as_str)),
        (Some(("Fn::Sub", Json::String(text))), _) => found.extend(substituted(text)),
        (Some(("Fn::Sub", Json::Array(parts))), _) => {
            let own = parts.get(1).and_then(Json::as_object);
            let text = parts.first().and_then(Json::as_str).unwrap_or_default();
            found.extend(substituted(text).filter(|name| own.is_none_or(|own| !own.contains_key(*name))));
            parts.iter().skip(1).for_each(|part| references(part, found));
        }
        (_, Json::Object(fields)) => fields.values().for_each(|value| references(value, found)),
        (_, Json::Array(items)) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn substituted(text: &str) -> impl Iterator<Item = &str> {
    let names = substitutions(text).0.into_iter();
    names.map(|name| if name.starts_with("AWS::") { name } else { name.split('.').next().unwrap_or(name) })
}
