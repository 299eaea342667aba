//! Stacks and change sets over the library's own call, against the real services behind them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use localcloud::clock::Clock;
use localcloud::services::Service;
use localcloud::{ApiError, Cloud, Settings, engine};
use serde_json::{Value, json};

use crate::client::eventually;
use crate::server::Endpoint;

struct Running {
    cloud: Cloud,
}

impl Running {
    fn open(data: &Path) -> Self {
        let settings = Settings {
            listen: "127.0.0.1:7400".parse().expect("an address"),
            data_dir: data.to_owned(),
            region: "ap-northeast-1".to_owned(),
            sources: BTreeMap::new(),
            build_env: vec![],
            runtime: localcloud::runtime::Runtime::Process,
            advisories: None,
            shim: None,
        };
        let cloud = Cloud::open(settings, Clock::system(60.0)).expect("the state opens");
        engine::start(&cloud);
        Self { cloud }
    }

    async fn call(&self, operation: &str, input: Value) -> Result<Value, ApiError> {
        self.cloud.call(Service::CloudFormation, operation, input).await
    }

    async fn settled(&self, stack: &str) -> Value {
        for _ in 0..600 {
            let stacks = self.call("DescribeStacks", json!({"StackName": stack})).await.expect("described");
            let stack = stacks["Stacks"][0].clone();
            if !stack["StackStatus"].as_str().unwrap_or_default().ends_with("IN_PROGRESS") {
                return stack;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{stack} never settled: {:?}", self.call("DescribeStackEvents", json!({"StackName": stack})).await);
    }

    /// Creates and executes a change set; gives the settled stack.
    async fn apply(&self, stack: &str, kind: &str, template: &Value) -> Value {
        let input = json!({
            "StackName": stack, "ChangeSetName": "c", "ChangeSetType": kind,
            "TemplateBody": template.to_string(), "Capabilities": ["CAPABILITY_NAMED_IAM"],
        });
        let id = self.call("CreateChangeSet", input).await.expect("created")["StackId"].clone();
        self.call("ExecuteChangeSet", json!({"StackName": stack, "ChangeSetName": "c"})).await.expect("executed");
        self.call("DeleteChangeSet", json!({"StackName": stack, "ChangeSetName": "c"})).await.expect("deleted");
        self.settled(id.as_str().expect("an id")).await
    }

    async fn events(&self, stack: &str) -> Vec<String> {
        let events = self.call("DescribeStackEvents", json!({"StackName": stack})).await.expect("described");
        let mut lines: Vec<String> = events["StackEvents"]
            .as_array()
            .expect("events")
            .iter()
            .map(|event| {
                let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
                format!("{} {} {}", text("LogicalResourceId"), text("ResourceStatus"), text("ResourceStatusReason"))
            })
            .collect();
        lines.reverse();
        lines
    }
}

fn network(cidr: &str) -> Value {
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": cidr}},
            "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {
                "VpcId": {"Ref": "Vpc"}, "AvailabilityZone": {"Fn::Select": [0, {"Fn::GetAZs": ""}]},
            }},
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "task"}},
        },
        "Outputs": {
            "VpcId": {"Value": {"Ref": "Vpc"}, "Export": {"Name": "network-VpcId"}},
            "RoleArn": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}},
        },
    })
}

#[tokio::test]
async fn a_stack_is_created_changed_and_deleted_with_its_events() {
    let data = tempfile::tempdir().expect("a folder");
    let running = Running::open(data.path());
    let stack = running.apply("network", "CREATE", &network("10.0.0.0/16")).await;
    assert_eq!(stack["StackStatus"], "CREATE_COMPLETE");
    let output = |stack: &Value, key: &str| {
        let outputs = stack["Outputs"].as_array().expect("outputs").clone();
        outputs.into_iter().find(|output| output["OutputKey"] == key).expect("it")["OutputValue"].clone()
    };
    assert_eq!(output(&stack, "RoleArn"), "arn:aws:iam::000000000000:role/task");
    let vpc = output(&stack, "VpcId");
    let events = running.events("network").await;
    assert!(events.contains(&"Vpc CREATE_COMPLETE recorded; inert in the embedded endpoint".to_owned()), "{events:#?}");

    let again = json!({"StackName": "network", "ChangeSetName": "same", "TemplateBody": network("10.0.0.0/16").to_string(), "Capabilities": ["CAPABILITY_NAMED_IAM"]});
    running.call("CreateChangeSet", again).await.expect("created");
    let same = running.call("DescribeChangeSet", json!({"StackName": "network", "ChangeSetName": "same"})).await;
    let same = same.expect("described");
    assert_eq!(same["Status"], "FAILED");
    assert!(same["StatusReason"].as_str().is_some_and(|reason| reason.contains("didn't contain changes")));

    let wider = json!({"StackName": "network", "ChangeSetName": "wider", "TemplateBody": network("10.1.0.0/16").to_string(), "Capabilities": ["CAPABILITY_NAMED_IAM"]});
    running.call("CreateChangeSet", wider).await.expect("created");
    let described = running.call("DescribeChangeSet", json!({"StackName": "network", "ChangeSetName": "wider"})).await;
    let changes = described.expect("described")["Changes"].clone();
    let replacements: Vec<_> = changes
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| {
            (change["ResourceChange"]["LogicalResourceId"].clone(), change["ResourceChange"]["Replacement"].clone())
        })
        .collect();
    assert_eq!(replacements, [(json!("Vpc"), json!("True")), (json!("Subnet"), json!("Conditional"))]);

    let stack = running.apply("network", "UPDATE", &network("10.1.0.0/16")).await;
    assert_eq!(stack["StackStatus"], "UPDATE_COMPLETE");
    assert_ne!(output(&stack, "VpcId"), vpc, "a new CIDR block needs a new VPC");

    running.call("DeleteStack", json!({"StackName": "network"})).await.expect("deleted");
    let id = stack["StackId"].as_str().expect("an id");
    assert_eq!(running.settled(id).await["StackStatus"], "DELETE_COMPLETE");
    assert!(running.call("DescribeStacks", json!({"StackName": "network"})).await.is_err());
}

#[tokio::test]
async fn exports_in_use_can_neither_go_nor_change() {
    let data = tempfile::tempdir().expect("a folder");
    let running = Running::open(data.path());
    running.apply("network", "CREATE", &network("10.0.0.0/16")).await;
    let reader = json!({"Resources": {"Group": {"Type": "AWS::EC2::SecurityGroup", "Properties": {
        "GroupDescription": "g", "VpcId": {"Fn::ImportValue": "network-VpcId"},
    }}}});
    assert_eq!(running.apply("reader", "CREATE", &reader).await["StackStatus"], "CREATE_COMPLETE");
    let stack = running.apply("network", "UPDATE", &network("10.1.0.0/16")).await;
    assert_eq!(stack["StackStatus"], "UPDATE_ROLLBACK_COMPLETE");
    let events = running.events("network").await;
    assert!(
        events.iter().any(|event| event.contains("Cannot update export network-VpcId as it is in use by reader")),
        "{events:#?}"
    );
    running.call("DeleteStack", json!({"StackName": "network"})).await.expect("answered");
    let stack = running.settled("network").await;
    assert_eq!(stack["StackStatus"], "DELETE_FAILED");
}

#[tokio::test]
async fn a_failed_creation_names_its_cause_and_takes_everything_back() {
    let data = tempfile::tempdir().expect("a folder");
    let running = Running::open(data.path());
    let template = json!({"Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Project": {"Type": "AWS::CodeBuild::Project", "DependsOn": "Vpc", "Properties": {"Name": "p", "Nonsense": 1}},
    }});
    let stack = running.apply("broken", "CREATE", &template).await;
    assert_eq!(stack["StackStatus"], "ROLLBACK_COMPLETE");
    let events = running.events("broken").await;
    assert!(events.iter().any(|event| event.starts_with("Project CREATE_FAILED the property Nonsense")), "{events:#?}");
    assert!(events.iter().any(|event| event.starts_with("Vpc DELETE_COMPLETE")), "{events:#?}");
    let refused =
        running.call("UpdateStack", json!({"StackName": "broken", "TemplateBody": template.to_string()})).await;
    assert!(refused.expect_err("refused").message.contains("ROLLBACK_COMPLETE state and can not be updated"));
}

#[tokio::test]
async fn a_failed_update_changes_everything_back() {
    let data = tempfile::tempdir().expect("a folder");
    let running = Running::open(data.path());
    let template = |days: u32, insights: &str| {
        json!({"Resources": {
            "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/app", "RetentionInDays": days}},
            "Cluster": {"Type": "AWS::ECS::Cluster", "DependsOn": ["Logs"], "Properties": {
                "ClusterName": "c", "ClusterSettings": [{"Name": "containerInsights", "Value": insights}],
            }},
        }})
    };
    assert_eq!(running.apply("app", "CREATE", &template(7, "disabled")).await["StackStatus"], "CREATE_COMPLETE");
    let stack = running.apply("app", "UPDATE", &template(14, "enabled")).await;
    assert_eq!(stack["StackStatus"], "UPDATE_ROLLBACK_COMPLETE");
    let groups = running.cloud.call(Service::Logs, "DescribeLogGroups", json!({})).await.expect("described");
    assert_eq!(groups["logGroups"][0]["retentionInDays"], 7);
    let events = running.events("app").await;
    let cause = "Cluster UPDATE_FAILED changing the property ClusterSettings of AWS::ECS::Cluster is not supported";
    assert!(events.iter().any(|event| event.starts_with(cause)), "{events:#?}");
    // The rolled-back stack is what it was: the same template changes nothing.
    let same = json!({"StackName": "app", "TemplateBody": template(7, "disabled").to_string()});
    let refused = running.call("UpdateStack", same).await.expect_err("no changes");
    assert_eq!(refused.message, "No updates are to be performed.");
}

#[tokio::test]
async fn a_repository_whose_tags_stay_can_let_some_of_them_move() {
    let data = tempfile::tempdir().expect("a folder");
    let running = Running::open(data.path());
    let template = |mutability: &str, moving: &[&str]| {
        let filters: Vec<Value> = moving
            .iter()
            .map(|pattern| {
                json!({
                    "ImageTagMutabilityExclusionFilterType": "WILDCARD",
                    "ImageTagMutabilityExclusionFilterValue": pattern,
                })
            })
            .collect();
        let mut properties = json!({"RepositoryName": "app", "ImageTagMutability": mutability});
        if !filters.is_empty() {
            properties["ImageTagMutabilityExclusionFilters"] = filters.into();
        }
        json!({"Resources": {"Repository": {"Type": "AWS::ECR::Repository", "Properties": properties}}})
    };
    let filters = async || {
        let described = running.cloud.call(Service::Ecr, "DescribeRepositories", json!({})).await.expect("described");
        described["repositories"][0]["imageTagMutabilityExclusionFilters"].clone()
    };
    running.apply("app", "CREATE", &template("IMMUTABLE", &[])).await;
    assert_eq!(filters().await, Value::Null);
    let stack = running.apply("app", "UPDATE", &template("IMMUTABLE_WITH_EXCLUSION", &["sha256-*"])).await;
    assert_eq!(stack["StackStatus"], "UPDATE_COMPLETE");
    assert_eq!(filters().await, json!([{"filterType": "WILDCARD", "filter": "sha256-*"}]));
    let stack = running.apply("app", "UPDATE", &template("IMMUTABLE_WITH_EXCLUSION", &["sha256-*", "dev-*"])).await;
    assert_eq!(stack["StackStatus"], "UPDATE_COMPLETE", "the filters alone can change, too");
    assert_eq!(filters().await.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_before_anything_happens() {
    let data = tempfile::tempdir().expect("a folder");
    let running = Running::open(data.path());
    let create =
        |template: Value| running.call("CreateStack", json!({"StackName": "s", "TemplateBody": template.to_string()}));
    let error = create(json!({"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}})).await.expect_err("unknown type");
    assert!(error.message.contains("AWS::SQS::Queue of Q"), "{error}");
    let error = create(json!({"Resources": {"R": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r"}}}})).await;
    assert_eq!(error.expect_err("no capability").code, "InsufficientCapabilitiesException");
    let error =
        create(json!({"Resources": {"S": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Nope"}}}}}))
            .await;
    assert!(error.expect_err("dangling").message.contains("[Nope]"));
    let circle = json!({"Resources": {
        "A": {"Type": "AWS::EC2::VPC", "DependsOn": ["B"]}, "B": {"Type": "AWS::EC2::VPC", "DependsOn": ["A"]},
    }});
    assert!(
        create(circle).await.expect_err("circle").message.contains("Circular dependency between resources: [A, B]")
    );
    assert!(
        running.call("DescribeStacks", json!({})).await.expect("described")["Stacks"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
}

/// A Query request as any AWS client sends it; gives the XML.
fn query(endpoint: &Endpoint, action: &str, members: &[(&str, &str)]) -> String {
    let mut form = format!("Action={action}&Version=2010-05-15");
    for (name, value) in members {
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        form.push_str(&format!("&{name}={encoded}"));
    }
    let mut stream = TcpStream::connect(&endpoint.address).expect("the endpoint accepts");
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
        endpoint.address,
        form.len(),
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn an_operation_goes_on_after_a_kill() {
    let mut endpoint = Endpoint::start(&[]);
    let many: serde_json::Map<String, Value> = (0..40)
        .map(|index| {
            let depends: Vec<String> = (index > 0).then(|| format!("Vpc{}", index - 1)).into_iter().collect();
            let properties = json!({"CidrBlock": "10.0.0.0/16"});
            (format!("Vpc{index}"), json!({"Type": "AWS::EC2::VPC", "DependsOn": depends, "Properties": properties}))
        })
        .collect();
    let template = json!({"Resources": many}).to_string();
    let set = [("StackName", "many"), ("ChangeSetName", "first")];
    let request = [&set[..], &[("ChangeSetType", "CREATE"), ("TemplateBody", &template)]].concat();
    let answer = query(&endpoint, "CreateChangeSet", &request);
    assert!(answer.contains("<StackId>arn:aws:cloudformation:"), "{answer}");
    query(&endpoint, "ExecuteChangeSet", &set);
    endpoint.kill_and_restart();
    eventually("the stack is complete", || {
        let answer = query(&endpoint, "DescribeStacks", &[("StackName", "many")]);
        answer.contains("<StackStatus>CREATE_COMPLETE</StackStatus>").then_some(())
    });
    let resources = query(&endpoint, "ListStackResources", &[("StackName", "many")]);
    assert_eq!(resources.matches("<ResourceStatus>CREATE_COMPLETE</ResourceStatus>").count(), 40, "{resources}");
    let events = query(&endpoint, "DescribeStackEvents", &[("StackName", "many")]);
    assert!(events.contains("recorded; inert in the embedded endpoint"), "{events}");

    let template = json!({"Resources": {"Vpc0": many["Vpc0"]}}).to_string();
    query(&endpoint, "UpdateStack", &[("StackName", "many"), ("TemplateBody", &template)]);
    eventually("the stack is updated", || {
        let answer = query(&endpoint, "DescribeStacks", &[("StackName", "many")]);
        answer.contains("<StackStatus>UPDATE_COMPLETE</StackStatus>").then_some(())
    });
    // AWS's model has no resource status for a stack that cleans up: the events of an update must be valid all the same.
    let events = query(&endpoint, "DescribeStackEvents", &[("StackName", "many")]);
    assert!(events.contains("<ResourceStatus>UPDATE_COMPLETE</ResourceStatus>"), "{events}");
    assert!(events.contains("<ResourceStatus>DELETE_COMPLETE</ResourceStatus>"), "{events}");
}
