//! AWS's service models, trimmed by `models/trim_models.py`, with every reference resolved when they are loaded.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::services::Service;

/// The models of all services the endpoint may answer for.
#[derive(Debug)]
pub struct Models {
    services: Vec<ServiceModel>,
}

/// Why a model cannot be used: a fault of the build, since the models are part of the binary.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not a model.
    #[error("the model of {service} cannot be read: {reason}")]
    Unreadable {
        /// Which one.
        service: Service,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Debug)]
pub(super) struct ServiceModel {
    pub(super) service: Service,
    pub(super) query_compatible: bool,
    pub(super) xml_namespace: String,
    pub(super) operations: BTreeMap<String, Operation>,
    api_version: String,
    target_prefix: Option<String>,
    speaks_query: bool,
    shapes: Vec<Shape>,
    /// Error shapes by their name and by the code they have in the Query protocol.
    errors: HashMap<String, ErrorShape>,
}

#[derive(Debug)]
struct ErrorShape {
    name: String,
    query_code: Option<String>,
    status: Option<u16>,
}

/// What the model says about an error code.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelledError<'m> {
    pub(super) name: &'m str,
    pub(super) query_code: Option<&'m str>,
    pub(super) status: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) input: Option<Reference>,
    pub(super) output: Option<Reference>,
    pub(super) errors: Vec<String>,
}

/// A use of a shape, with what belongs to the place and not to the shape.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    shape: usize,
    pub(super) location_name: Option<String>,
    pub(super) flattened: bool,
    pub(super) result_wrapper: Option<String>,
    pub(super) timestamp_format: Option<TimestampFormat>,
}

#[derive(Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) flattened: bool,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) timestamp_format: Option<TimestampFormat>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Structure {
        members: BTreeMap<String, Reference>,
        required: Vec<String>,
        union: bool,
    },
    List(Reference),
    Map {
        key: Reference,
        value: Reference,
    },
    String {
        values: Vec<String>,
        pattern: Option<Pattern>,
    },
    Blob,
    Boolean,
    Integer,
    Float,
    Timestamp,
    /// Free-form JSON.
    Document,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum TimestampFormat {
    #[serde(rename = "iso8601")]
    Iso8601,
    #[serde(rename = "unixTimestamp")]
    Unix,
    #[serde(rename = "rfc822")]
    Rfc822,
}

/// A pattern, compiled when it is first needed. A pattern beyond our small engine (look-ahead,
/// the Unicode classes of tags) allows everything.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) source: String,
    compiled: OnceLock<Option<regex_lite::Regex>>,
}

impl Pattern {
    pub(super) fn allows(&self, text: &str) -> bool {
        let compile = || regex_lite::Regex::new(&format!("(?s)^(?:{})$", self.source)).ok();
        self.compiled.get_or_init(compile).as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

impl Models {
    /// The models in this binary.
    pub fn embedded() -> Result<Self, LoadError> {
        let services =
            Service::ALL.into_iter().map(|service| load(service, text_of(service))).collect::<Result<_, _>>()?;
        Ok(Self { services })
    }

    pub(super) fn of(&self, service: Service) -> Option<&ServiceModel> {
        self.services.iter().find(|model| model.service == service)
    }

    pub(super) fn with_target_prefix(&self, prefix: &str) -> Option<&ServiceModel> {
        self.services.iter().find(|model| model.target_prefix.as_deref() == Some(prefix))
    }

    pub(super) fn with_query_version(&self, version: &str) -> Option<&ServiceModel> {
        self.services.iter().find(|model| model.speaks_query && model.api_version == version)
    }
}

impl ServiceModel {
    pub(super) fn shape(&self, reference: &Reference) -> &Shape {
        // Indices are made by `load` for this very vector.
        &self.shapes[reference.shape]
    }

    pub(super) fn error(&self, code: &str) -> Option<ModelledError<'_>> {
        self.errors.get(code).map(|error| ModelledError {
            name: &error.name,
            query_code: error.query_code.as_deref(),
            status: error.status,
        })
    }
}

fn text_of(service: Service) -> &'static str {
    match service {
        Service::ApplicationAutoscaling => include_str!("../../models/application-autoscaling.json"),
        Service::CloudFormation => include_str!("../../models/cloudformation.json"),
        Service::CloudWatch => include_str!("../../models/cloudwatch.json"),
        Service::CodeBuild => include_str!("../../models/codebuild.json"),
        Service::CodeConnections => include_str!("../../models/codeconnections.json"),
        Service::CodeDeploy => include_str!("../../models/codedeploy.json"),
        Service::CodePipeline => include_str!("../../models/codepipeline.json"),
        Service::Ecr => include_str!("../../models/ecr.json"),
        Service::Ecs => include_str!("../../models/ecs.json"),
        Service::Elbv2 => include_str!("../../models/elbv2.json"),
        Service::Iam => include_str!("../../models/iam.json"),
        Service::Logs => include_str!("../../models/logs.json"),
        Service::SecretsManager => include_str!("../../models/secretsmanager.json"),
        Service::Sns => include_str!("../../models/sns.json"),
        Service::Ssm => include_str!("../../models/ssm.json"),
        Service::Sts => include_str!("../../models/sts.json"),
    }
}

fn load(service: Service, text: &str) -> Result<ServiceModel, LoadError> {
    let unreadable = |reason: String| LoadError::Unreadable { service, reason };
    let raw: raw::Model = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    let index: HashMap<&str, usize> = raw.shapes.keys().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let resolver = Resolver { index };
    let mut shapes = Vec::with_capacity(raw.shapes.len());
    let mut errors = HashMap::new();
    for (name, shape) in &raw.shapes {
        if shape.exception {
            let error = || ErrorShape {
                name: name.clone(),
                query_code: shape.error.as_ref().and_then(|error| error.code.clone()),
                status: shape.error.as_ref().and_then(|error| error.status),
            };
            if let Some(code) = error().query_code {
                errors.entry(code).or_insert_with(error);
            }
            errors.insert(name.clone(), error());
        }
        shapes.push(resolver.shape(name, shape).map_err(unreadable)?);
    }
    let mut operations = BTreeMap::new();
    for (name, operation) in raw.operations {
        let resolve = |reference: Option<raw::Reference>| reference.map(|r| resolver.reference(&r)).transpose();
        let input = resolve(operation.input).map_err(unreadable)?;
        let output = resolve(operation.output).map_err(unreadable)?;
        operations.insert(name, Operation { input, output, errors: operation.errors });
    }
    let metadata = raw.metadata;
    Ok(ServiceModel {
        service,
        query_compatible: metadata.aws_query_compatible.is_some(),
        xml_namespace: metadata.xml_namespace.unwrap_or_default(),
        operations,
        api_version: metadata.api_version,
        target_prefix: metadata.target_prefix,
        speaks_query: metadata.protocols.iter().any(|protocol| protocol == "query"),
        shapes,
        errors,
    })
}

struct Resolver<'r> {
    index: HashMap<&'r str, usize>,
}

impl Resolver<'_> {
    fn reference(&self, raw: &raw::Reference) -> Result<Reference, String> {
        let shape = *self.index.get(raw.shape.as_str()).ok_or_else(|| format!("no shape {}", raw.shape))?;
        Ok(Reference {
            shape,
            location_name: raw.location_name.clone(),
            flattened: raw.flattened,
            result_wrapper: raw.result_wrapper.clone(),
            timestamp_format: raw.timestamp_format,
        })
    }

    fn shape(&self, name: &str, raw: &raw::Shape) -> Result<Shape, String> {
        let part = |reference: &Option<raw::Reference>, what: &str| {
            let reference = reference.as_ref().ok_or_else(|| format!("{name} has no {what}"))?;
            self.reference(reference)
        };
        let kind = match raw.kind.as_str() {
            "structure" if raw.document => Kind::Document,
            "structure" => Kind::Structure {
                members: raw
                    .members
                    .iter()
                    .map(|(member, reference)| Ok((member.clone(), self.reference(reference)?)))
                    .collect::<Result<_, String>>()?,
                required: raw.required.clone(),
                union: raw.union,
            },
            "list" => Kind::List(part(&raw.member, "member")?),
            "map" => Kind::Map { key: part(&raw.key, "key")?, value: part(&raw.value, "value")? },
            "string" | "character" => Kind::String {
                values: raw.values.clone(),
                pattern: raw.pattern.clone().map(|source| Pattern { source, compiled: OnceLock::new() }),
            },
            "blob" => Kind::Blob,
            "boolean" => Kind::Boolean,
            "integer" | "long" => Kind::Integer,
            "float" | "double" => Kind::Float,
            "timestamp" => Kind::Timestamp,
            other => return Err(format!("{name} has the unknown type {other}")),
        };
        Ok(Shape { kind, flattened: raw.flattened, min: raw.min, max: raw.max, timestamp_format: raw.timestamp_format })
    }
}

/// The files' own form, which is botocore's.
mod raw {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::TimestampFormat;

    #[derive(Deserialize)]
    pub(super) struct Model {
        pub(super) metadata: Metadata,
        pub(super) operations: BTreeMap<String, Operation>,
        pub(super) shapes: BTreeMap<String, Shape>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Metadata {
        pub(super) api_version: String,
        pub(super) target_prefix: Option<String>,
        pub(super) xml_namespace: Option<String>,
        pub(super) aws_query_compatible: Option<serde::de::IgnoredAny>,
        pub(super) protocols: Vec<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Operation {
        pub(super) input: Option<Reference>,
        pub(super) output: Option<Reference>,
        pub(super) errors: Vec<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Reference {
        pub(super) shape: String,
        pub(super) location_name: Option<String>,
        #[serde(default)]
        pub(super) flattened: bool,
        pub(super) result_wrapper: Option<String>,
        pub(super) timestamp_format: Option<TimestampFormat>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Shape {
        #[serde(rename = "type")]
        pub(super) kind: String,
        #[serde(default)]
        pub(super) members: BTreeMap<String, Reference>,
        #[serde(default)]
        pub(super) required: Vec<String>,
        pub(super) member: Option<Reference>,
        pub(super) key: Option<Reference>,
        pub(super) value: Option<Reference>,
        #[serde(rename = "enum", default)]
        pub(super) values: Vec<String>,
        pub(super) pattern: Option<String>,
        pub(super) min: Option<f64>,
        pub(super) max: Option<f64>,
        #[serde(default)]
        pub(super) flattened: bool,
        #[serde(default)]
        pub(super) union: bool,
        #[serde(default)]
        pub(super) document: bool,
        #[serde(default)]
        pub(super) exception: bool,
        pub(super) error: Option<Error>,
        pub(super) timestamp_format: Option<TimestampFormat>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Error {
        pub(super) code: Option<String>,
        #[serde(rename = "httpStatusCode")]
        pub(super) status: Option<u16>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_model_loads_and_no_member_is_lost() {
        let models = Models::embedded().unwrap();
        assert_eq!(models.services.len(), Service::ALL.len());
        let codebuild = models.with_target_prefix("CodeBuild_20161006").unwrap();
        let source = codebuild
            .shapes
            .iter()
            .any(|shape| matches!(&shape.kind, Kind::Structure { members, .. } if members.contains_key("buildspec") && members.contains_key("auth")));
        assert!(source, "the members of ProjectSource include `auth`");
    }

    #[test]
    fn almost_every_pattern_is_understood() {
        let models = Models::embedded().unwrap();
        let mut beyond = Vec::new();
        for model in &models.services {
            for shape in &model.shapes {
                if let Kind::String { pattern: Some(pattern), .. } = &shape.kind {
                    pattern.allows("");
                    if pattern.compiled.get().is_none_or(Option::is_none)
                        && ![r"\p{L}", r"\uD7FF"].iter().any(|class| pattern.source.contains(class))
                    {
                        beyond.push(format!("{}: {}", model.service, pattern.source));
                    }
                }
            }
        }
        assert!(beyond.len() < 12, "{beyond:#?}");
    }
}
