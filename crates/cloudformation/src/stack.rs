//! The stacks of an environment, in the order in which they are created.

use environment::{Environment, Project};
use serde_json::Value as Json;

use crate::names::Names;
use crate::{data, delivery, network, observability, registry, service};

/// A stack as CloudFormation takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Name of the stack.
    pub name: String,
    /// Which one.
    pub kind: StackKind,
    /// The template.
    pub template: Json,
    /// Capabilities that the client acknowledges.
    pub capabilities: Vec<&'static str>,
    /// The template's parameters.
    pub parameters: Vec<StackParameter>,
    /// Whether the stack refuses to be deleted.
    pub termination_protection: bool,
}

/// Which stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StackKind {
    /// The image repository, shared by the environments.
    Registry,
    /// What an environment keeps: its key, table, secrets, parameters and logs.
    Data,
    /// VPC and security groups of an environment.
    Network,
    /// What runs an environment.
    Service,
    /// What watches an environment, and who is told.
    Observability,
    /// The pipeline, shared by the environments.
    Delivery,
}

impl StackKind {
    /// Whether all environments share the stack.
    pub const fn is_shared(self) -> bool {
        matches!(self, StackKind::Registry | StackKind::Delivery)
    }
}

/// A parameter of a stack's template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackParameter {
    /// Name.
    pub name: String,
    /// What it takes when nothing is given; without one it must be given.
    pub default: Option<String>,
}

/// A setting that is understood but not generated yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{environment}: {field}: {problem}\n  hint: {hint}")]
pub struct Unsupported {
    /// Name of the environment.
    pub environment: String,
    /// Path of the field.
    pub field: &'static str,
    /// What is not supported.
    pub problem: &'static str,
    /// What to do instead.
    pub hint: &'static str,
}

/// The most that CloudFormation takes in a request, without the detour through a bucket.
pub const TEMPLATE_LIMIT: usize = 51_200;

impl Stack {
    /// The template as it is sent: compact JSON.
    pub fn body(&self) -> String {
        self.template.to_string()
    }

    fn new(kind: StackKind, name: String, template: Json, protected: bool) -> Self {
        let parameters = template["Parameters"].as_object().into_iter().flatten();
        let parameters = parameters
            .map(|(name, parameter)| StackParameter {
                name: name.clone(),
                default: parameter["Default"].as_str().map(str::to_owned),
            })
            .collect();
        let mut resources = template["Resources"].as_object().into_iter().flatten();
        let named_roles = resources.any(|(_, resource)| resource["Type"] == "AWS::IAM::Role");
        let capabilities = if named_roles { vec!["CAPABILITY_NAMED_IAM"] } else { Vec::new() };
        Stack { name, kind, template, capabilities, parameters, termination_protection: protected }
    }
}

/// The stacks of an environment in the order in which they are created. Registry and delivery are the same for
/// every environment of the project; the delivery stack imports from staging's service stack. An environment that
/// keeps nothing has no data stack, and one without alarms is not watched.
pub fn templates(project: &Project, environment: &Environment) -> Result<Vec<Stack>, Unsupported> {
    let names = Names::new(project, environment.name);
    let protected = environment.protection.termination;
    let stack = |kind, name, template| Stack::new(kind, name, template, protected);
    let registry = registry::template(project, environment.shared_encryption(project));
    let stacks = [
        Some(stack(StackKind::Registry, names.registry_stack(), registry)),
        data::template(project, environment).map(|template| stack(StackKind::Data, names.data_stack(), template)),
        Some(stack(StackKind::Network, names.network_stack(), network::template(project, environment))),
        Some(stack(StackKind::Service, names.service_stack(), service::template(project, environment))),
        observability::template(project, environment)
            .map(|template| stack(StackKind::Observability, names.observability_stack(), template)),
        Some(stack(StackKind::Delivery, names.delivery_stack(), delivery::template(project, environment))),
    ];
    let stacks: Vec<Stack> = stacks.into_iter().flatten().collect();
    supported(environment, &stacks)?;
    Ok(stacks)
}

/// Names of all alarms that stop a deployment of an environment: its own, and those its file names.
pub fn deployment_alarms(project: &Project, environment: &Environment) -> Vec<String> {
    let mut alarms = service::gates(environment, Names::new(project, environment.name));
    alarms.extend(environment.deployment.alarms.iter().cloned());
    alarms
}

/// Refuses a template that CloudFormation would not take.
fn supported(environment: &Environment, stacks: &[Stack]) -> Result<(), Unsupported> {
    let too_large = stacks.iter().find(|stack| stack.body().len() > TEMPLATE_LIMIT);
    too_large.map_or(Ok(()), |stack| {
        let field = match stack.kind {
            StackKind::Registry => "registry",
            StackKind::Data => "data",
            StackKind::Network => "network",
            StackKind::Service => "parameters",
            StackKind::Observability => "alarms",
            StackKind::Delivery => "notify",
        };
        Err(Unsupported {
            environment: environment.name.to_string(),
            field,
            problem: "the template is larger than the 51,200 bytes that CloudFormation takes",
            hint: "list fewer entries",
        })
    })
}

/// Refuses environments that one pipeline cannot serve together.
pub(crate) fn supported_together(project: &Project, environments: &[Environment]) -> Result<(), Unsupported> {
    let place = |environment: &Environment| (environment.account().to_owned(), environment.region(project).to_owned());
    for pair in environments.windows(2) {
        let [first, second] = pair else { continue };
        let refuse =
            |field, problem, hint| Err(Unsupported { environment: second.name.to_string(), field, problem, hint });
        if place(first) != place(second) {
            return refuse(
                "where",
                "a pipeline across accounts or regions is not generated yet",
                "give all environments the same account and region",
            );
        }
        if first.deployment.engine != second.deployment.engine {
            return refuse(
                "deployment.engine",
                "what moves production would be another engine than the one that staging tried",
                "give all environments the same engine",
            );
        }
        if first.task.architecture != second.task.architecture {
            return refuse(
                "task.architecture",
                "the one image that staging tried would not run there",
                "give all environments the same architecture",
            );
        }
    }
    Ok(())
}

/// What every resource of an environment is tagged with.
pub(crate) fn tags(project: &Project, environment: Option<&Environment>) -> Vec<(&'static str, String)> {
    let mut tags = vec![("Project", project.name.clone())];
    if let Some(environment) = environment {
        tags.push(("Environment", environment.name.to_string()));
    }
    tags
}
