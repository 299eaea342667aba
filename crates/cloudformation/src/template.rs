//! A template under construction. Adding a resource gives the handle through which others refer to it.

use std::marker::PhantomData;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::value::Intrinsic;

/// The properties of a resource type.
pub trait ResourceType: Serialize {
    /// `AWS::Service::Kind`.
    const TYPE: &str;
    /// The property that takes a list of tags, if there is one.
    const TAGS: Option<&str>;
    /// The properties that cannot change without a new resource.
    const CREATE_ONLY: &[&str];
    /// What CloudFormation calls to create, read, update and delete a resource.
    const PERMISSIONS: &[&str];
}

/// What is known of a resource type, for those who meet it by name.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// `AWS::Service::Kind`.
    pub name: &'static str,
    /// The properties that cannot change without a new resource.
    pub create_only: &'static [&'static str],
    /// What CloudFormation calls to create, read, update and delete a resource.
    pub permissions: &'static [&'static str],
}

impl Facts {
    /// The facts of a type.
    pub const fn of<P: ResourceType>() -> Self {
        Facts { name: P::TYPE, create_only: P::CREATE_ONLY, permissions: P::PERMISSIONS }
    }
}

/// A resource that is in the template.
#[derive(Debug)]
pub struct Handle<P> {
    id: String,
    properties: PhantomData<P>,
}

impl<P> Handle<P> {
    /// What `Ref` gives for the type: its name, id or ARN.
    pub fn reference(&self) -> Intrinsic {
        Intrinsic::Ref(self.id.clone())
    }

    /// `Fn::GetAtt`; the generated resource types have a method for each attribute.
    pub(crate) fn attribute(&self, name: &str) -> Intrinsic {
        Intrinsic::GetAtt(self.id.clone(), name.to_owned())
    }
}

/// A resource with what CloudFormation knows about every resource.
#[derive(Debug)]
pub struct Resource<P> {
    properties: P,
    depends_on: Vec<String>,
    condition: Option<String>,
    deletion: Option<&'static str>,
    exceptions: Vec<Exception>,
    reasons: Vec<(&'static str, &'static str)>,
}

/// A validator's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Of cfn-lint: `W3011`.
    CfnLint(&'static str),
    /// Of checkov: `CKV_AWS_18`.
    Checkov(&'static str),
    /// Of AWS Control Tower, by way of cfn-guard: `CT.S3.PR.1`.
    ControlTower(&'static str),
}

/// A rule that does not hold for one resource, and why that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Exception {
    rule: Rule,
    reason: &'static str,
}

impl Rule {
    const fn tool_and_id(self) -> (&'static str, &'static str) {
        match self {
            Rule::CfnLint(id) => ("cfn-lint", id),
            Rule::Checkov(id) => ("checkov", id),
            Rule::ControlTower(id) => ("control-tower", id),
        }
    }
}

impl<P: ResourceType> Resource<P> {
    /// A resource with these properties.
    pub fn new(properties: P) -> Self {
        Resource {
            properties,
            depends_on: Vec::new(),
            condition: None,
            deletion: None,
            exceptions: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// Exists only where the condition holds.
    #[must_use]
    pub fn only_if(mut self, condition: &Condition) -> Self {
        self.condition = Some(condition.0.clone());
        self
    }

    /// A validator's rule does not hold here; the reason stands in the template, where the validators read it.
    #[must_use]
    pub fn except(mut self, rule: Rule, reason: &'static str) -> Self {
        self.exceptions.push(Exception { rule, reason });
        self
    }

    /// Records why something about the resource is as it is, under a name.
    #[must_use]
    pub(crate) fn because(mut self, what: &'static str, reason: &'static str) -> Self {
        self.reasons.push((what, reason));
        self
    }

    /// `Metadata`: exceptions in the words of each tool, and reasons for people.
    fn metadata(&self) -> Map<String, Json> {
        let mut metadata = Map::new();
        let of =
            |tool: &'static str| self.exceptions.iter().filter(move |exception| exception.rule.tool_and_id().0 == tool);
        let skip: Vec<_> = of("checkov")
            .map(|exception| json!({"id": exception.rule.tool_and_id().1, "comment": exception.reason}))
            .collect();
        if !skip.is_empty() {
            metadata.insert("checkov".to_owned(), json!({"skip": skip}));
        }
        let ignored: Vec<_> = of("cfn-lint").map(|exception| exception.rule.tool_and_id().1).collect();
        if !ignored.is_empty() {
            metadata.insert("cfn-lint".to_owned(), json!({"config": {"ignore_checks": ignored}}));
        }
        if !self.exceptions.is_empty() {
            let all = self.exceptions.iter().map(|exception| {
                let (tool, rule) = exception.rule.tool_and_id();
                json!({"Tool": tool, "Rule": rule, "Reason": exception.reason})
            });
            metadata.insert("Exceptions".to_owned(), all.collect());
        }
        if !self.reasons.is_empty() {
            let reasons = self.reasons.iter().map(|(what, reason)| ((*what).to_owned(), (*reason).into()));
            metadata.insert("Reasons".to_owned(), Json::Object(reasons.collect()));
        }
        metadata
    }

    /// The properties, to complete what a function for many made.
    pub const fn properties_mut(&mut self) -> &mut P {
        &mut self.properties
    }

    /// Created after, and deleted before, another one without referring to it.
    #[must_use]
    pub fn after<Q>(mut self, other: &Handle<Q>) -> Self {
        self.depends_on.push(other.id.clone());
        self
    }

    /// Stays when the stack is deleted or the resource replaced: it holds what cannot be made again.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.deletion = Some("Retain");
        self
    }

    /// Goes with the stack although it holds data: said outright, because nobody should have to guess.
    #[must_use]
    pub fn disposable(mut self) -> Self {
        self.deletion = Some("Delete");
        self
    }
}

impl<P: ResourceType> From<P> for Resource<P> {
    fn from(properties: P) -> Self {
        Resource::new(properties)
    }
}

/// A condition of the template.
#[derive(Debug)]
pub struct Condition(String);

impl Condition {
    /// `Fn::If`.
    pub fn choose(&self, yes: Intrinsic, no: Intrinsic) -> Intrinsic {
        Intrinsic::If(self.0.clone(), Box::new(yes), Box::new(no))
    }

    /// A document where the condition holds, else nothing.
    pub fn document(&self, document: Json) -> Json {
        json!({"Fn::If": [self.0, document, Intrinsic::NoValue]})
    }
}

/// A template under construction.
#[derive(Debug)]
pub struct Template {
    description: String,
    tags: Vec<(&'static str, String)>,
    parameters: Map<String, Json>,
    conditions: Map<String, Json>,
    resources: Map<String, Json>,
    outputs: Map<String, Json>,
}

impl Template {
    /// An empty template whose resources carry these tags.
    pub fn new(description: impl Into<String>, tags: Vec<(&'static str, String)>) -> Self {
        Template {
            description: description.into(),
            tags,
            parameters: Map::new(),
            conditions: Map::new(),
            resources: Map::new(),
            outputs: Map::new(),
        }
    }

    /// Adds a resource.
    ///
    /// # Panics
    /// When another resource or a parameter has the logical id: an error of the stack's author.
    pub fn add<P: ResourceType>(&mut self, id: impl Into<String>, resource: impl Into<Resource<P>>) -> Handle<P> {
        let id = id.into();
        let resource = resource.into();
        let mut properties = to_json(&resource.properties);
        if let (Some(property), Json::Object(fields)) = (P::TAGS, &mut properties) {
            let own = fields.remove(property).and_then(|tags| tags.as_array().cloned()).unwrap_or_default();
            let shared = self.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value}));
            fields.insert(property.to_owned(), shared.chain(own).collect());
        }
        let mut entry = Map::new();
        entry.insert("Type".to_owned(), P::TYPE.into());
        let metadata = resource.metadata();
        if !metadata.is_empty() {
            entry.insert("Metadata".to_owned(), metadata.into());
        }
        if let Some(condition) = resource.condition {
            entry.insert("Condition".to_owned(), condition.into());
        }
        if !resource.depends_on.is_empty() {
            entry.insert("DependsOn".to_owned(), resource.depends_on.into());
        }
        if let Some(deletion) = resource.deletion {
            entry.insert("DeletionPolicy".to_owned(), deletion.into());
            entry.insert("UpdateReplacePolicy".to_owned(), deletion.into());
        }
        if properties.as_object().is_some_and(|fields| !fields.is_empty()) {
            entry.insert("Properties".to_owned(), properties);
        }
        let taken = self.parameters.contains_key(&id) || self.resources.contains_key(&id);
        assert!(!taken, "two things are called {id}");
        self.resources.insert(id.clone(), entry.into());
        Handle { id, properties: PhantomData }
    }

    /// Adds a parameter; without default it has to be given.
    pub fn parameter(&mut self, name: &str, kind: &str, description: &str, default: Option<&str>) -> Intrinsic {
        let mut entry = Map::new();
        entry.insert("Type".to_owned(), kind.into());
        entry.insert("Description".to_owned(), description.into());
        if let Some(default) = default {
            entry.insert("Default".to_owned(), default.into());
        }
        self.parameters.insert(name.to_owned(), entry.into());
        Intrinsic::Ref(name.to_owned())
    }

    /// Adds a condition that holds when a parameter of type `CommaDelimitedList` names something.
    pub fn when_listed(&mut self, name: &str, parameter: &Intrinsic) -> Condition {
        let joined = json!({"Fn::Join": ["", parameter]});
        self.conditions.insert(name.to_owned(), json!({"Fn::Not": [{"Fn::Equals": [joined, ""]}]}));
        Condition(name.to_owned())
    }

    /// Adds a condition that holds when a parameter is not empty.
    pub fn when_given(&mut self, name: &str, parameter: &Intrinsic) -> Condition {
        self.conditions.insert(name.to_owned(), json!({"Fn::Not": [{"Fn::Equals": [parameter, ""]}]}));
        Condition(name.to_owned())
    }

    /// Adds an output.
    pub fn output(&mut self, name: &str, description: &str, value: &Intrinsic) {
        self.outputs.insert(name.to_owned(), json!({"Description": description, "Value": value}));
    }

    /// Adds an output that other stacks import under the export's name.
    pub fn export(&mut self, name: &str, description: &str, value: &Intrinsic, export: &str) {
        let output = json!({"Description": description, "Value": value, "Export": {"Name": export}});
        self.outputs.insert(name.to_owned(), output);
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// The finished template.
    pub fn finish(self) -> Json {
        let mut template = Map::new();
        template.insert("AWSTemplateFormatVersion".to_owned(), "2010-09-09".into());
        template.insert("Description".to_owned(), self.description.into());
        let sections = [
            ("Parameters", self.parameters),
            ("Conditions", self.conditions),
            ("Resources", self.resources),
            ("Outputs", self.outputs),
        ];
        for (name, section) in sections {
            if !section.is_empty() {
                template.insert(name.to_owned(), section.into());
            }
        }
        template.into()
    }
}

/// JSON of a typed document.
///
/// # Panics
/// Never for the types of this crate: their maps have text keys and their numbers are finite.
pub(crate) fn to_json(document: &impl Serialize) -> Json {
    serde_json::to_value(document).expect("typed documents have text keys and finite numbers")
}
