//! Environments that differ from the committed ones in everything the generator looks at.

use std::path::{Path, PathBuf};

use cloudformation::checks::Document;
use cloudformation::templates;
use environment::{
    Canary, Capacity, Endpoint, Engine, Environment, EnvironmentName, Linear, Nat, Project, Span, Strategy,
};
use proptest::prelude::{Just, Strategy as _, any, prop_oneof};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn project() -> Project {
    Project::load(&root().join("environments")).unwrap()
}

pub(crate) fn committed() -> Vec<Environment> {
    EnvironmentName::ALL.map(|name| Environment::load(&root().join("environments"), name).unwrap()).into()
}

fn https(environment: &mut Environment) {
    let arn = "arn:aws:acm:ap-northeast-1:123456789012:certificate/12345678-1234-1234-1234-123456789012";
    environment.location.account = Some("123456789012".to_owned());
    environment.edge.certificate = Some(arn.to_owned());
    environment.edge.domain = Some("chat.example.com".to_owned());
    environment.edge.port = 443;
}

/// Secrets, parameters and alarms.
fn everything(environment: &mut Environment) {
    environment.secrets.insert("API_KEY".to_owned(), "smartassist/api-key".to_owned());
    environment.parameters.insert("GREETING".to_owned(), "/smartassist/greeting".to_owned());
    environment.deployment.alarms = vec!["errors".to_owned()];
}

/// A project and its environments.
pub(crate) struct Fixture {
    pub(crate) project: Project,
    pub(crate) environments: Vec<Environment>,
}

/// The committed ones, on the embedded endpoint.
pub(crate) fn local() -> Fixture {
    Fixture { project: project(), environments: committed() }
}

/// The example in an account, with everything switched on.
pub(crate) fn aws() -> Fixture {
    let directory = root().join("crates/cloudformation/examples/aws/environments");
    let load = |name| Environment::load(&directory, name).unwrap();
    Fixture { project: Project::load(&directory).unwrap(), environments: EnvironmentName::ALL.map(load).into() }
}

/// Any supported environment.
pub(crate) fn any_environment() -> impl proptest::strategy::Strategy<Value = Environment> {
    let network = (2..=3_u8, prop_oneof![Just(Nat::None), Just(Nat::Single), Just(Nat::PerZone)], any::<bool>());
    let steps = prop_oneof![
        Just(Strategy::AllAtOnce),
        (1..=99_u8, 1..=20_u64)
            .prop_map(|(percent, for_)| Strategy::Canary(Canary { percent, duration: Span::minutes(for_) })),
        (1..=99_u8, 1..=20_u64)
            .prop_map(|(percent, every)| Strategy::Linear(Linear { percent, every: Span::minutes(every) })),
    ];
    let edge = any::<bool>();
    let rest = (any::<bool>(), any::<bool>(), any::<bool>(), 0..=60_u64);
    (0..=1_usize, network, steps, edge, rest).prop_map(
        |(index, (zones, nat, interfaces), strategy, https, (spot, references, protected, bake))| {
            let mut environment = committed().remove(index);
            environment.network.zones = zones;
            environment.network.nat = nat;
            if interfaces || nat == Nat::None {
                environment.network.endpoints = vec![
                    Endpoint::S3,
                    Endpoint::EcrApi,
                    Endpoint::EcrDkr,
                    Endpoint::Logs,
                    Endpoint::Secretsmanager,
                    Endpoint::Ssm,
                ];
            }
            environment.deployment.strategy = strategy;
            environment.deployment.bake = Span::minutes(bake);
            environment.protection.termination = protected;
            if https {
                self::https(&mut environment);
            }
            if spot {
                environment.task.capacity = Capacity::Spot;
            }
            if references {
                self::everything(&mut environment);
            }
            environment
        },
    )
}

/// Whole systems of staging and production, that together use every feature.
pub(crate) fn systems() -> Vec<Vec<Document>> {
    let mut native = aws();
    for environment in &mut native.environments {
        environment.deployment.engine = Engine::Ecs;
    }
    let systems = [aws(), native, local()];
    systems.iter().map(|system| documents(&system.project, &system.environments)).collect()
}

/// The stacks of a system, each once.
pub(crate) fn documents(project: &Project, environments: &[Environment]) -> Vec<Document> {
    let mut documents: Vec<Document> = Vec::new();
    for stack in environments.iter().flat_map(|environment| templates(project, environment).unwrap()) {
        if documents.iter().all(|other| other.name() != stack.name) {
            documents.push(Document::new(stack.name, stack.template));
        }
    }
    documents
}
