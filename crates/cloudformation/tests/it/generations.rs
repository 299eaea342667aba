//! Updates leave what holds state, traffic or names: only listed resources are ever replaced.

use cloudformation::{Stack, replacements, templates};
use environment::{Canary, Encryption, Engine, Environment, Span, Strategy};

use crate::variants::{Fixture, aws, local};

/// Everything that changing an environment replaces, as `stack/id`.
fn replaced(fixture: &Fixture, change: fn(&mut Environment)) -> Vec<String> {
    let mut found = Vec::new();
    for environment in &fixture.environments {
        let mut changed = environment.clone();
        change(&mut changed);
        let newer = templates(&fixture.project, &changed).unwrap();
        for Stack { name, template, .. } in templates(&fixture.project, environment).unwrap() {
            let Some(other) = newer.iter().find(|stack| stack.name == name) else { continue };
            found.extend(replacements(&template, &other.template).into_iter().map(|one| format!("{name}/{}", one.id)));
        }
    }
    found
}

#[test]
fn everyday_changes_replace_only_the_first_task_definition_and_names_that_say_what_changed() {
    let changes: [fn(&mut Environment); 8] = [
        |environment| environment.task.memory = environment::Memory::mebibytes(2048),
        |environment| environment.task.stop_timeout = Span::seconds(90),
        |environment| environment.health_check.interval = Span::seconds(10),
        |environment| environment.health_check.deregistration_delay = Span::seconds(120),
        |environment| {
            environment.deployment.strategy = Strategy::Canary(Canary { percent: 20, duration: Span::minutes(3) });
        },
        |environment| environment.autoscaling.max += 5,
        |environment| environment.security.log_retention = Some(Span::days(7)),
        |environment| environment.protection.termination = !environment.protection.termination,
    ];
    for fixture in [local(), aws()] {
        for change in changes {
            for one in replaced(&fixture, change) {
                let id = one.rsplit('/').next().unwrap();
                // Revisions are immutable and retained; a configuration's name says its steps.
                assert!(["FirstTaskDefinition", "DeploymentConfig"].contains(&id), "{one} is replaced");
            }
        }
    }
}

#[test]
fn what_has_to_be_replaced_is_listed() {
    let network = replaced(&aws(), |environment| environment.network.cidr = "10.99.0.0/16".to_owned());
    assert!(network.contains(&"smartassist-network-production/Vpc".to_owned()), "{network:?}");
    let keys = replaced(&aws(), |environment| environment.security.encryption = Some(Encryption::AwsManaged));
    assert_eq!(keys.iter().filter(|one| one.ends_with("/Key")).count(), 2, "{keys:?}");
    let engine = replaced(&aws(), |environment| environment.deployment.engine = Engine::Ecs);
    assert!(engine.contains(&"smartassist-service-production/DeploymentGroup".to_owned()), "{engine:?}");
    assert!(!engine.iter().any(|one| one.ends_with("/LoadBalancer") || one.ends_with("/Conversations")), "{engine:?}");
}
