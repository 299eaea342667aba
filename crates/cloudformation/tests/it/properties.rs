//! What holds for every supported environment.

use std::collections::BTreeSet;

use cloudformation::checks::{Document, Scope, check};
use cloudformation::{StackKind, TEMPLATE_LIMIT, files, templates};
use environment::{Architecture, Engine, Environment};
use proptest::prelude::*;

use crate::variants::{any_environment, committed, project};
use crate::{references, task_definition};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn references_lead_somewhere_and_the_same_input_gives_the_same_bytes(environment in any_environment()) {
        let project = project();
        let stacks = templates(&project, &environment).unwrap();
        // The delivery stack always imports from staging.
        let staging = BTreeSet::from(["smartassist-service-staging-Url".to_owned()]);
        references::check(&stacks, &staging);
        let again = templates(&project, &environment.clone()).unwrap();
        for (stack, again) in stacks.iter().zip(&again) {
            prop_assert_eq!(stack.body(), again.body());
            prop_assert!(stack.body().len() < TEMPLATE_LIMIT, "{} has {} bytes", stack.name, stack.body().len());
        }
        let documents: Vec<_> =
            stacks.iter().map(|stack| Document::new(stack.name.as_str(), stack.template.clone())).collect();
        let findings = check(&documents, Scope::Part);
        prop_assert!(findings.is_empty(), "{}", findings[0]);
        task_definition::check(&stacks, &files(&project, &[environment]).unwrap());
    }
}

#[test]
fn stacks_come_in_the_order_of_their_creation() {
    for environment in committed() {
        let kinds: Vec<_> = templates(&project(), &environment).unwrap().iter().map(|stack| stack.kind).collect();
        assert_eq!(kinds, [StackKind::Registry, StackKind::Network, StackKind::Service, StackKind::Delivery]);
    }
}

#[test]
fn staging_refers_to_nothing_that_is_created_later() {
    let staging = committed().remove(0);
    references::check(&templates(&project(), &staging).unwrap(), &BTreeSet::new());
}

#[test]
fn the_service_stack_takes_the_image_and_what_lives() {
    let stacks = templates(&project(), &committed()[1]).unwrap();
    let parameters: Vec<_> =
        stacks[2].parameters.iter().map(|entry| (entry.name.as_str(), entry.default.as_deref())).collect();
    assert_eq!(parameters, [("ImageUri", None), ("TaskDefinition", Some("")), ("DesiredCount", Some("2"))]);
    // The others are complete without a word.
    for stack in [&stacks[0], &stacks[1], &stacks[3]] {
        assert!(stack.parameters.iter().all(|parameter| parameter.default.is_some()), "{}", stack.name);
    }
}

#[test]
fn environments_that_one_pipeline_cannot_serve_are_refused() {
    type Change = fn(&mut Environment);
    let cases: [(&str, Change); 3] = [
        ("where", |environment| environment.location.account = Some("123456789012".to_owned())),
        ("deployment.engine", |environment| environment.deployment.engine = Engine::Ecs),
        ("task.architecture", |environment| environment.task.architecture = Architecture::Arm64),
    ];
    for (field, change) in cases {
        let mut environments = committed();
        change(&mut environments[1]);
        let refused = files(&project(), &environments).unwrap_err();
        assert_eq!(refused.field, field);
        assert!(refused.to_string().contains("hint: "), "{refused}");
    }
}

#[test]
fn a_template_that_cloudformation_would_not_take_is_refused() {
    let mut environment = committed().remove(1);
    environment.data.parameters = (0..200).map(|number| (format!("/smartassist/{number}"), "x".repeat(200))).collect();
    let refused = templates(&project(), &environment).unwrap_err();
    assert_eq!(refused.field, "data");
}

#[test]
fn a_given_connection_is_used_and_none_is_created() {
    // AWS asks for the permission of the service that the connection was made under.
    for (service, other) in [("codeconnections", "codestar-connections"), ("codestar-connections", "codeconnections")] {
        let mut project = project();
        let id = "12345678-1234-1234-1234-123456789012";
        let arn = format!("arn:aws:{service}:ap-northeast-1:123456789012:connection/{id}");
        project.source.connection_arn = Some(arn.clone());
        let stacks = templates(&project, &committed()[0]).unwrap();
        references::check(&stacks, &BTreeSet::new());
        assert_eq!(stacks[3].parameters[0].default, Some(arn));
        let body = stacks[3].body();
        assert!(!body.contains("AWS::CodeConnections::Connection"));
        assert!(body.contains(&format!("\"{service}:UseConnection\"")));
        assert!(!body.contains(&format!("{other}:UseConnection")));
    }
}
