//! Environments in an account: their stacks whole, and what holds for every choice they offer.

use std::collections::{BTreeMap, BTreeSet};

use cloudformation::resources::TYPES;
use cloudformation::{StackKind, cloudformation_role, deployment_alarms, files, templates};
use environment::{Architecture, Builder, Encryption, Engine, SourceProvider};
use serde_json::{Value as Json, json};

use crate::references;
use crate::variants::{Fixture, aws, root};

#[test]
fn templates_of_the_example() {
    let Fixture { project, environments } = aws();
    let mut seen = BTreeSet::new();
    for environment in &environments {
        let stacks = templates(&project, environment).unwrap();
        let exported = BTreeSet::from(["smartassist-service-staging-Url".to_owned()]);
        references::check(&stacks, &exported);
        for stack in stacks {
            if seen.insert(stack.name.clone()) {
                insta::assert_snapshot!(format!("aws-{}", stack.name), format!("{:#}", stack.template));
            }
        }
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn files_of_the_example_are_current() {
    let Fixture { project, environments } = aws();
    for file in files(&project, &environments).unwrap() {
        let path = root().join("crates/cloudformation/examples/aws").join(&file.path);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let hint = "hint: cargo run -p cloudformation --bin synth -- --environments crates/cloudformation/examples/aws/environments";
        assert!(text == file.text, "{} is stale\n{hint}", path.display());
    }
}

#[test]
fn the_appspec_calls_the_functions_that_the_stack_makes() {
    let Fixture { project, environments } = aws();
    let files = files(&project, &environments).unwrap();
    let production = files.iter().find(|file| file.path == "environments/production/appspec.yaml").unwrap();
    let appspec: Json = serde_yaml::from_str(&production.text).unwrap();
    let function = |what: &str| {
        format!("arn:aws:lambda:ap-northeast-1:123456789012:function:smartassist-production-{what}-canary")
    };
    let hooks = json!([{"BeforeAllowTraffic": function("validate")}, {"AfterAllowTraffic": function("monitor")}]);
    assert_eq!(appspec["Hooks"], hooks);
    let made = resources(|_| {});
    let names: Vec<_> = of(&made, "AWS::Lambda::Function").iter().map(|made| made["FunctionName"].clone()).collect();
    assert_eq!(names, ["smartassist-production-validate-canary", "smartassist-production-monitor-canary"]);
}

/// Every resource of the example's stacks, after a change of the project and its environments.
fn resources(change: fn(&mut Fixture)) -> Vec<Json> {
    let mut fixture = aws();
    change(&mut fixture);
    let mut all = Vec::new();
    for environment in &fixture.environments {
        let stacks = templates(&fixture.project, environment).unwrap();
        references::check(&stacks, &BTreeSet::from(["smartassist-service-staging-Url".to_owned()]));
        for stack in stacks {
            all.extend(stack.template["Resources"].as_object().unwrap().values().cloned());
        }
    }
    all
}

fn of<'a>(resources: &'a [Json], kind: &str) -> Vec<&'a Json> {
    resources.iter().filter(|resource| resource["Type"] == kind).map(|resource| &resource["Properties"]).collect()
}

#[test]
fn the_engine_ecs_moves_rules_and_leaves_codedeploy_out() {
    let all = resources(|fixture| {
        for environment in &mut fixture.environments {
            environment.deployment.engine = Engine::Ecs;
        }
    });
    assert!(!all.iter().any(|resource| resource["Type"].as_str().unwrap().starts_with("AWS::CodeDeploy")));
    let services = of(&all, "AWS::ECS::Service");
    let production = services[1];
    let deployment = &production["DeploymentConfiguration"];
    assert_eq!(deployment["Strategy"], "CANARY");
    assert_eq!(deployment["CanaryConfiguration"], json!({"CanaryPercent": 10.0, "CanaryBakeTimeInMinutes": 5}));
    assert_eq!(deployment["BakeTimeInMinutes"], 10);
    assert_eq!(deployment["Alarms"]["Rollback"], true);
    assert_eq!(deployment["LifecycleHooks"].as_array().unwrap().len(), 2);
    let traffic = &production["LoadBalancers"][0]["AdvancedConfiguration"];
    for field in ["AlternateTargetGroupArn", "ProductionListenerRule", "TestListenerRule", "RoleArn"] {
        assert!(traffic.get(field).is_some(), "{field}: {traffic:#}");
    }
    // Both target groups are on every rule, all traffic on blue.
    for rule in of(&all, "AWS::ElasticLoadBalancingV2::ListenerRule") {
        let groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"].as_array().unwrap();
        let weights: Vec<_> = groups.iter().map(|group| &group["Weight"]).collect();
        assert_eq!(weights, [1, 0]);
    }
    let actions: Vec<_> = of(&all, "AWS::CodePipeline::Pipeline")[0]["Stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["Actions"][0]["ActionTypeId"]["Provider"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["CodeStarSourceConnection", "CodeBuild", "ECS", "CodeBuild", "Manual", "ECS"]);
}

#[test]
fn only_the_docker_builder_is_privileged() {
    let privileged = |all: &[Json]| -> Vec<bool> {
        let builds = of(all, "AWS::CodeBuild::Project");
        builds.iter().map(|build| build["Environment"]["PrivilegedMode"] == true).collect()
    };
    assert_eq!(privileged(&resources(|_| {})), [false; 4]);
    let all = resources(|fixture| {
        fixture.project.build.builder = Builder::Docker;
        fixture.project.build.image = "aws/codebuild/amazonlinux-x86_64-standard:5.0".to_owned();
    });
    assert_eq!(privileged(&all), [true, false, true, false]);
}

#[test]
fn credentials_in_build_logs_are_hidden() {
    let all = resources(|_| ());
    let builds = of(&all, "AWS::Logs::LogGroup").into_iter().filter_map(|group| {
        let name = group["LogGroupName"].as_str().unwrap();
        name.starts_with("/aws/codebuild/").then_some((name, &group["DataProtectionPolicy"]))
    });
    let policies: BTreeMap<_, _> = builds.collect();
    assert!(
        policies.keys().eq(&["/aws/codebuild/smartassist-build", "/aws/codebuild/smartassist-test"]),
        "{policies:?}"
    );
    for policy in policies.values() {
        let [find, hide] = [0, 1].map(|number| &policy["Statement"][number]);
        assert_eq!(find["Operation"], json!({"Audit": {"FindingsDestination": {}}}));
        assert_eq!(hide["Operation"], json!({"Deidentify": {"MaskConfig": {}}}));
        // AWS refuses a policy that does not find exactly what it hides.
        assert_eq!(find["DataIdentifier"], hide["DataIdentifier"]);
        let key = json!({"Fn::Sub": "arn:${AWS::Partition}:dataprotection::aws:data-identifier/AwsSecretKey"});
        assert_eq!(find["DataIdentifier"][0], key);
    }
}

#[test]
fn arm64_is_built_and_run_as_arm64() {
    let all = resources(|fixture| {
        for environment in &mut fixture.environments {
            environment.task.architecture = Architecture::Arm64;
        }
    });
    for build in of(&all, "AWS::CodeBuild::Project") {
        assert_eq!(build["Environment"]["Type"], "ARM_CONTAINER");
    }
    for task in of(&all, "AWS::ECS::TaskDefinition") {
        assert_eq!(task["RuntimePlatform"]["CpuArchitecture"], "ARM64");
    }
}

#[test]
fn codecommit_starts_the_pipeline_by_an_event() {
    let all = resources(|fixture| {
        fixture.project.source.provider = SourceProvider::CodeCommit;
        fixture.project.source.repository = "smartassist-chatbot".to_owned();
    });
    let pipeline = of(&all, "AWS::CodePipeline::Pipeline")[0];
    assert_eq!(pipeline["Stages"][0]["Actions"][0]["Configuration"]["PollForSourceChanges"], "false");
    assert!(pipeline.get("Triggers").is_none());
    assert!(of(&all, "AWS::CodeConnections::Connection").is_empty());
    let rules = of(&all, "AWS::Events::Rule");
    assert!(rules.iter().any(|rule| rule["EventPattern"]["source"] == json!(["aws.codecommit"])));
}

#[test]
fn keys_of_our_own_are_used_everywhere_or_nowhere() {
    let ours = resources(|_| {});
    assert_eq!(of(&ours, "AWS::KMS::Key").len(), 4, "the registry's twice, and one an environment");
    for kind in ["AWS::Logs::LogGroup", "AWS::SecretsManager::Secret"] {
        for resource in of(&ours, kind) {
            assert!(resource.get("KmsKeyId").is_some(), "{kind}: {resource:#}");
        }
    }
    let theirs = resources(|fixture| {
        fixture.project.encryption = Some(Encryption::AwsManaged);
        for environment in &mut fixture.environments {
            environment.security.encryption = Some(Encryption::AwsManaged);
        }
    });
    assert!(of(&theirs, "AWS::KMS::Key").is_empty());
    assert!(theirs.iter().all(|resource| resource["Properties"].get("KmsKeyId").is_none()));
}

#[test]
fn deployments_stop_on_the_alarms_that_the_stack_makes() {
    let Fixture { project, environments } = aws();
    for environment in &environments {
        let stacks = templates(&project, environment).unwrap();
        let service = stacks.iter().find(|stack| stack.kind == StackKind::Service).unwrap();
        let resources = service.template["Resources"].as_object().unwrap();
        let made: BTreeSet<_> = resources
            .values()
            .filter(|resource| resource["Type"] == "AWS::CloudWatch::Alarm")
            .map(|alarm| alarm["Properties"]["AlarmName"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(made, BTreeSet::from_iter(deployment_alarms(&project, environment)));
        let group = &resources["DeploymentGroup"]["Properties"]["AlarmConfiguration"]["Alarms"];
        assert_eq!(group.as_array().unwrap().len(), made.len());
    }
}

#[test]
fn no_statement_allows_everything_and_every_star_has_its_reason() {
    for role in resources(|_| {}).iter().filter(|resource| resource["Type"] == "AWS::IAM::Role") {
        let policies = role["Properties"]["Policies"].as_array().into_iter().flatten();
        for statement in policies.flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap()) {
            let actions = statement["Action"].as_array().unwrap();
            assert!(actions.iter().all(|action| !action.as_str().unwrap().contains('*')), "{statement:#}");
            if statement["Resource"] == json!(["*"]) {
                let reason = &role["Metadata"]["Reasons"][statement["Sid"].as_str().unwrap()];
                assert!(reason.is_string(), "{statement:#} has no reason");
                assert!(!actions.contains(&json!("iam:PassRole")), "{statement:#}");
            }
        }
    }
}

#[test]
fn cloudformation_may_do_what_its_types_call_and_hand_on_only_our_roles() {
    let Fixture { project, environments } = aws();
    let template = cloudformation_role(&project, &environments).unwrap();
    let resources = template["Resources"].as_object().unwrap();
    let mut allowed = BTreeSet::new();
    for policy in resources.values().filter(|resource| resource["Type"] == "AWS::IAM::ManagedPolicy") {
        let document = &policy["Properties"]["PolicyDocument"];
        assert!(document.to_string().len() < 6_144, "{document}");
        for statement in document["Statement"].as_array().unwrap() {
            let actions: Vec<_> =
                statement["Action"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
            assert!(actions.iter().all(|action| !action.contains('*')), "{statement:#}");
            if actions.contains(&"iam:PassRole") {
                let roles = statement["Resource"].as_array().unwrap();
                assert!(roles.len() > 5 && roles.iter().all(|role| !role.to_string().contains('*')), "{statement:#}");
            }
            if statement["Resource"] == json!(["*"]) {
                assert!(policy["Metadata"]["Reasons"]["Unscoped"].is_string(), "{statement:#}");
            }
            allowed.extend(actions.into_iter().map(str::to_owned));
        }
    }
    let policies = resources["Role"]["Properties"]["ManagedPolicyArns"].as_array().unwrap().len();
    assert!(policies <= 10, "a role takes ten policies, not {policies}");
    for kind in self::resources(|_| {}).iter().map(|resource| resource["Type"].as_str().unwrap().to_owned()) {
        let facts = TYPES.iter().find(|facts| facts.name == kind).unwrap();
        for permission in facts.permissions {
            assert!(allowed.contains(*permission), "{kind} needs {permission}");
        }
    }
}

#[test]
fn exceptions_are_few_each_with_a_reason() {
    let mut kinds: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for resource in resources(|fixture| fixture.project.build.builder = Builder::Docker) {
        for exception in resource["Metadata"]["Exceptions"].as_array().into_iter().flatten() {
            let reason = exception["Reason"].as_str().unwrap();
            assert!(reason.len() > 20, "{exception}");
            let rule = exception["Rule"].as_str().unwrap().to_owned();
            let kind = resource["Type"].as_str().unwrap().to_owned();
            kinds.entry((rule, kind)).or_default().insert(reason.to_owned());
        }
    }
    assert!(kinds.len() <= 15, "{kinds:#?}");
}
