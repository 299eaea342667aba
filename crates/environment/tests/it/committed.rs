//! The committed files load, and say what the rest of the project counts on.

use std::path::Path;

use environment::{Engine, Environment, EnvironmentName, Project, Span, Strategy};

fn directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../environments"))
}

#[test]
fn project_names_what_everything_is_called_after() {
    let project = Project::load(directory()).unwrap();
    assert_eq!(project.name, "smartassist");
    assert_eq!(project.image_repository, "smartassist/chatbot");
    assert_eq!(project.pipeline_name(), "smartassist");
    assert_eq!(project.source.branch, "main");
}

#[test]
fn both_environments_are_on_the_embedded_endpoint() {
    let project = Project::load(directory()).unwrap();
    for name in EnvironmentName::ALL {
        let environment = Environment::load(directory(), name).unwrap();
        assert_eq!(environment.endpoint(&project), Some("http://127.0.0.1:7400"));
        assert_eq!(environment.account(), "000000000000");
        assert_eq!(environment.region(&project), "ap-northeast-1");
        assert_eq!(environment.deployment.engine, Engine::Codedeploy);
        assert_eq!(environment.health_check.interval, Span::seconds(5));
    }
}

#[test]
fn production_shifts_by_canary_and_staging_at_once() {
    let staging = Environment::load(directory(), EnvironmentName::Staging).unwrap();
    assert_eq!(staging.deployment.strategy, Strategy::AllAtOnce);
    let production = Environment::load(directory(), "prod".parse().unwrap()).unwrap();
    let Strategy::Canary(canary) = &production.deployment.strategy else { panic!("no canary") };
    assert_eq!((canary.percent, canary.duration), (10, Span::minutes(1)));
    assert_eq!(production.deployment.bake, Span::minutes(5));
}

#[test]
fn the_two_environments_can_run_beside_each_other() {
    let [staging, production] = EnvironmentName::ALL.map(|name| Environment::load(directory(), name).unwrap());
    let mut ports =
        [staging.edge.port, staging.edge.test_port, production.edge.port, production.edge.test_port].to_vec();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
    assert_ne!(staging.network.cidr, production.network.cidr);
}
