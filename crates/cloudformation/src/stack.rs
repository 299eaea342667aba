//! The stacks of an environment, in the order in which they are created.

use environment::{Architecture, ConversationStore, Engine, Environment, Project};
use serde_json::Value as Json;

use crate::names::Names;
use crate::{delivery, network, registry, service};

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
    /// VPC and security groups of an environment.
    Network,
    /// What runs an environment.
    Service,
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

    fn new(kind: StackKind, name: String, template: Json, named_roles: bool, protected: bool) -> Self {
        let parameters = template["Parameters"].as_object().into_iter().flatten();
        let parameters = parameters
            .map(|(name, parameter)| StackParameter {
                name: name.clone(),
                default: parameter["Default"].as_str().map(str::to_owned),
            })
            .collect();
        let capabilities = if named_roles { vec!["CAPABILITY_NAMED_IAM"] } else { Vec::new() };
        Stack { name, kind, template, capabilities, parameters, termination_protection: protected }
    }
}

/// The stacks of an environment in the order in which they are created. Registry and delivery are the same for
/// every environment of the project; the delivery stack imports from staging's service stack.
pub fn templates(project: &Project, environment: &Environment) -> Result<Vec<Stack>, Unsupported> {
    supported(environment)?;
    let names = Names::new(project, environment.name);
    let protected = environment.protection.termination;
    Ok(vec![
        Stack::new(StackKind::Registry, names.registry_stack(), registry::template(project), false, protected),
        Stack::new(
            StackKind::Network,
            names.network_stack(),
            network::template(project, environment),
            false,
            protected,
        ),
        Stack::new(StackKind::Service, names.service_stack(), service::template(project, environment), true, protected),
        Stack::new(StackKind::Delivery, names.delivery_stack(), delivery::template(project), true, protected),
    ])
}

/// Refuses what would silently have no effect.
fn supported(environment: &Environment) -> Result<(), Unsupported> {
    let refuse =
        |field, problem, hint| Err(Unsupported { environment: environment.name.to_string(), field, problem, hint });
    if environment.deployment.engine == Engine::Ecs {
        return refuse("deployment.engine", "the engine `ecs` is not generated yet", "set it to codedeploy");
    }
    if environment.task.architecture == Architecture::Arm64 {
        return refuse("task.architecture", "the build makes images for x86_64 only", "set it to x86_64");
    }
    if environment.chat.conversation_store == ConversationStore::Dynamodb {
        return refuse("chat.conversation_store", "the conversations table is not generated yet", "set it to embedded");
    }
    if environment.alarms.is_some() {
        return refuse("alarms", "alarms are not generated yet", "remove the section");
    }
    Ok(())
}

/// Refuses environments that one pipeline cannot reach together.
pub(crate) fn supported_together(project: &Project, environments: &[Environment]) -> Result<(), Unsupported> {
    let place = |environment: &Environment| (environment.account().to_owned(), environment.region(project).to_owned());
    for pair in environments.windows(2) {
        if place(&pair[0]) != place(&pair[1]) {
            return Err(Unsupported {
                environment: pair[1].name.to_string(),
                field: "where",
                problem: "a pipeline across accounts or regions is not generated yet",
                hint: "give all environments the same account and region",
            });
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
