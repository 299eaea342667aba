//! Blue/green deployments of real processes behind real listeners, under a load that may not lose a request.

use serde_json::{Value, json};

use crate::client::{Refused, eventually};
use crate::ecs::fleet::{self, Fleet, commit, get, text};
use crate::elbv2::fixture::Load;

const CODEDEPLOY: &str = "CodeDeploy_20141006";

/// A fleet with version `aaaa` in production, and a deployment group for it.
struct Delivery {
    fleet: Fleet,
    test_port: u16,
}

impl Delivery {
    /// `config` is the group's deployment configuration; blue stays for `termination` model minutes.
    fn start(config: &str, termination: u64) -> Self {
        let fleet = Fleet::start();
        fleet.create_service(&fleet.define(&fleet.push("aaaa"), &json!({})), 2);
        let (test, test_port) = fleet::listen(&fleet.endpoint, &fleet.balancer, &fleet.blue);
        let delivery = Self { fleet, test_port };
        delivery.expect("CreateApplication", &json!({"applicationName": "test", "computePlatform": "ECS"}));
        delivery.expect(
            "CreateDeploymentConfig",
            &json!({
                "deploymentConfigName": "canary", "computePlatform": "ECS",
                "trafficRoutingConfig": {
                    "type": "TimeBasedCanary", "timeBasedCanary": {"canaryPercentage": 20, "canaryInterval": 1},
                },
            }),
        );
        delivery.expect(
            "CreateDeploymentGroup",
            &json!({
                "applicationName": "test", "deploymentGroupName": "chatbot", "serviceRoleArn": "arn:aws:iam::000000000000:role/x",
                "deploymentConfigName": config,
                "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
                "blueGreenDeploymentConfiguration": {
                    "deploymentReadyOption": {"actionOnTimeout": "CONTINUE_DEPLOYMENT", "waitTimeInMinutes": 0},
                    "terminateBlueInstancesOnDeploymentSuccess":
                        {"action": "TERMINATE", "terminationWaitTimeInMinutes": termination},
                },
                "ecsServices": [{"clusterName": "test", "serviceName": "chatbot"}],
                "autoRollbackConfiguration": {"enabled": true, "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]},
                "loadBalancerInfo": {"targetGroupPairInfoList": [{
                    "targetGroups": [{"name": "blue"}, {"name": "green"}],
                    "prodTrafficRoute": {"listenerArns": [delivery.fleet.listener]},
                    "testTrafficRoute": {"listenerArns": [test]},
                }]},
            }),
        );
        delivery.fleet.steady(2);
        delivery
    }

    fn call(&self, operation: &str, input: &Value) -> Result<Value, Refused> {
        self.fleet.endpoint.call(CODEDEPLOY, operation, input)
    }

    fn expect(&self, operation: &str, input: &Value) -> Value {
        self.call(operation, input).unwrap_or_else(|error| panic!("{operation}: {error:?}"))
    }

    /// Starts a deployment of a version; `extra` goes into its container definition.
    fn deploy(&self, version: &str, extra: &Value) -> String {
        self.deploy_with(version, extra, &json!({}))
    }

    /// The same, with other settings of the deployment.
    fn deploy_with(&self, version: &str, extra: &Value, with: &Value) -> String {
        let definition = self.fleet.define(&self.fleet.push(version), extra);
        let appspec = format!(
            "version: 0.0\nResources:\n- TargetService:\n    Type: AWS::ECS::Service\n    Properties:\n      TaskDefinition: {definition}\n      LoadBalancerInfo:\n        ContainerName: chatbot\n        ContainerPort: 8080\n"
        );
        let mut input = json!({
            "applicationName": "test", "deploymentGroupName": "chatbot", "description": version,
            "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"content": appspec}},
        });
        for (key, value) in with.as_object().expect("an object") {
            input[key] = value.clone();
        }
        text(&self.expect("CreateDeployment", &input)["deploymentId"])
    }

    fn get(&self, id: &str) -> Value {
        self.expect("GetDeployment", &json!({"deploymentId": id}))["deploymentInfo"].clone()
    }

    fn target(&self, id: &str) -> Value {
        let input = json!({"deploymentId": id, "targetId": "test:chatbot"});
        self.expect("GetDeploymentTarget", &input)["deploymentTarget"]["ecsTarget"].clone()
    }

    /// The status of a lifecycle event.
    fn event(&self, id: &str, name: &str) -> String {
        let target = self.target(id);
        let events = target["lifecycleEvents"].as_array().expect("events");
        let event = events.iter().find(|event| event["lifecycleEventName"] == name);
        text(&event.expect("the event")["status"])
    }

    fn weights(&self, id: &str) -> (f64, f64) {
        let target = self.target(id);
        let weight = |index: usize| target["taskSetsInfo"][index]["trafficWeight"].as_f64().unwrap_or(-1.0);
        (weight(0), weight(1))
    }

    fn ends(&self, id: &str, status: &str) -> Value {
        let ended = eventually(&format!("{id} ends as {status}"), || {
            let deployment = self.get(id);
            ["Succeeded", "Failed", "Stopped"].contains(&deployment["status"].as_str()?).then_some(deployment)
        });
        assert_eq!(ended["status"], status, "{ended}");
        ended
    }

    fn production(&self) -> Option<String> {
        commit(&format!("127.0.0.1:{}", self.fleet.port))
    }

    fn load(&self) -> Load {
        Load::start(self.fleet.port, 6)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_and_its_successor_lose_no_request_and_no_stream() {
    let delivery = Delivery::start("canary", 1);
    let load = delivery.load();
    let address = format!("127.0.0.1:{}", delivery.fleet.port);
    let stream = std::thread::spawn(move || get(&address, "/stream?seconds=8"));
    let id = delivery.deploy("bbbb", &json!({}));
    let refused = delivery.call(
        "CreateDeployment",
        &json!({"applicationName": "test", "deploymentGroupName": "chatbot", "revision": delivery.get(&id)["revision"]}),
    );
    assert_eq!(refused.expect_err("a second one is refused").code, "DeploymentLimitExceededException");

    eventually("the canary is live", || (delivery.weights(&id) == (80.0, 20.0)).then_some(()));
    assert_eq!(delivery.event(&id, "AllowTestTraffic"), "Succeeded");
    assert_eq!(delivery.event(&id, "AllowTraffic"), "InProgress");
    assert_eq!(commit(&format!("127.0.0.1:{}", delivery.test_port)).as_deref(), Some("bbbb"));
    let mut green = 0;
    for _ in 0..20 {
        green += u32::from(delivery.production().as_deref() == Some("bbbb"));
    }
    assert!((1..=9).contains(&green), "{green} of 20 at 20 %");
    eventually("everything is moved", || (delivery.get(&id)["status"] == "Baking").then_some(()));
    assert_eq!(delivery.weights(&id), (0.0, 100.0));
    assert_eq!(delivery.production().as_deref(), Some("bbbb"));
    delivery.ends(&id, "Succeeded");
    delivery.fleet.steady(2);

    let next = delivery.deploy("cccc", &json!({}));
    delivery.ends(&next, "Succeeded");
    assert_eq!(delivery.production().as_deref(), Some("cccc"), "the second deployment goes to the other group");
    let outcome = load.stop().await;
    outcome.nothing_lost();
    assert!(["aaaa", "bbbb", "cccc"].iter().all(|name| outcome.names.contains_key(*name)), "{:?}", outcome.names);
    let answer = stream.join().expect("joined").expect("an answer");
    assert!(answer.contains("event: end"), "the stream of the first version is finished: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_canary_is_rolled_back_without_losing_a_request() {
    let delivery = Delivery::start("canary", 5);
    let load = delivery.load();
    let id = delivery.deploy("bbbb", &json!({}));
    eventually("the canary is live", || (delivery.weights(&id) == (80.0, 20.0)).then_some(()));
    delivery.expect("StopDeployment", &json!({"deploymentId": id, "autoRollbackEnabled": true}));
    let stopped = delivery.ends(&id, "Stopped");
    assert_eq!(stopped["errorInformation"]["code"], "MANUAL_STOP");
    let rollback = text(&stopped["rollbackInfo"]["rollbackDeploymentId"]);
    let rollback = delivery.ends(&rollback, "Succeeded");
    assert_eq!(rollback["creator"], "codeDeployRollback");
    assert_eq!(rollback["rollbackInfo"]["rollbackTriggeringDeploymentId"], *id);
    for _ in 0..20 {
        assert_eq!(delivery.production().as_deref(), Some("aaaa"));
    }
    assert_eq!(commit(&format!("127.0.0.1:{}", delivery.test_port)).as_deref(), Some("aaaa"));
    delivery.fleet.steady(2);
    let outcome = load.stop().await;
    outcome.nothing_lost();

    // And from the wait after the last shift, with everything on the new version.
    let load = delivery.load();
    let id = delivery.deploy("cccc", &json!({}));
    eventually("everything is moved", || (delivery.get(&id)["status"] == "Baking").then_some(()));
    assert_eq!(delivery.production().as_deref(), Some("cccc"));
    delivery.expect("StopDeployment", &json!({"deploymentId": id, "autoRollbackEnabled": true}));
    let stopped = delivery.ends(&id, "Stopped");
    delivery.ends(&text(&stopped["rollbackInfo"]["rollbackDeploymentId"]), "Succeeded");
    assert_eq!(delivery.production().as_deref(), Some("aaaa"));
    delivery.fleet.steady(2);
    let outcome = load.stop().await;
    outcome.nothing_lost();
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_versions_never_get_traffic_and_their_cause_is_told() {
    let delivery = Delivery::start("CodeDeployDefault.ECSAllAtOnce", 0);
    let load = delivery.load();
    for (version, environment, cause) in [
        ("crash", json!([{"name": "MODE", "value": "crash"}]), "exited with code 42"),
        ("moved", json!([{"name": "HEALTH_PATH", "value": "/elsewhere"}]), "[404]"),
    ] {
        let id = delivery.deploy(version, &json!({"environment": environment}));
        let said = eventually("the cause is visible while it runs", || {
            let notice = text(&delivery.get(&id)["deploymentStatusMessages"][0]);
            (!notice.is_empty()).then_some(notice)
        });
        assert_eq!(delivery.get(&id)["status"], "InProgress", "{said}");
        delivery.expect("StopDeployment", &json!({"deploymentId": id, "autoRollbackEnabled": true}));
        let stopped = delivery.ends(&id, "Stopped");
        let message = text(&stopped["errorInformation"]["message"]);
        assert!(message.contains(cause) || message.contains("health checks"), "{version}: {message}");
        assert_eq!(delivery.event(&id, "Install"), "Failed");
        assert_eq!(delivery.event(&id, "AllowTraffic"), "Skipped");
        delivery.ends(&text(&stopped["rollbackInfo"]["rollbackDeploymentId"]), "Succeeded");
    }
    let outcome = load.stop().await;
    outcome.nothing_lost();
    assert_eq!(outcome.names.keys().collect::<Vec<_>>(), ["aaaa"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_killed_during_a_canary_finishes_it() {
    let mut delivery = Delivery::start("canary", 0);
    let id = delivery.deploy("bbbb", &json!({}));
    eventually("the canary is live", || (delivery.weights(&id) == (80.0, 20.0)).then_some(()));
    delivery.fleet.endpoint.kill_and_restart();
    // It serves from the first moment: its listeners are bound before its API answers.
    let load = delivery.load();
    assert!(["InProgress", "Baking", "Succeeded"].contains(&text(&delivery.get(&id)["status"]).as_str()));
    delivery.ends(&id, "Succeeded");
    assert_eq!(delivery.production().as_deref(), Some("bbbb"));
    delivery.fleet.steady(2);
    let outcome = load.stop().await;
    outcome.nothing_lost();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_on_the_new_versions_errors_rolls_it_back() {
    let delivery = Delivery::start("CodeDeployDefault.ECSCanary10Percent5Minutes", 0);
    let resource = |arn: &str| arn.splitn(6, ':').nth(5).unwrap_or_default().to_owned();
    let balancer = resource(&delivery.fleet.balancer);
    let dimensions = json!([
        {"Name": "LoadBalancer", "Value": balancer.trim_start_matches("loadbalancer/")},
        {"Name": "TargetGroup", "Value": resource(&delivery.fleet.green)},
    ]);
    let alarm = json!({
        "AlarmName": "green-errors", "Namespace": "AWS/ApplicationELB", "MetricName": "HTTPCode_Target_5XX_Count",
        "Dimensions": dimensions, "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 0.0,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching",
    });
    delivery.fleet.endpoint.call("GraniteServiceVersion20100801", "PutMetricAlarm", &alarm).expect("put");
    let alarms = json!({"overrideAlarmConfiguration": {"enabled": true, "alarms": [{"name": "green-errors"}]}});
    let id = delivery.deploy_with("bbbb", &json!({}), &alarms);
    let production = format!("127.0.0.1:{}", delivery.fleet.port);
    let stopped = eventually("the alarm stops it", || {
        // Both versions answer this with 500; only green's answers are watched.
        get(&production, "/file?path=/nowhere");
        let deployment = delivery.get(&id);
        (deployment["status"] == "Stopped").then_some(deployment)
    });
    assert_eq!(stopped["errorInformation"]["code"], "ALARM_ACTIVE");
    assert!(text(&stopped["errorInformation"]["message"]).contains("green-errors"));
    delivery.ends(&text(&stopped["rollbackInfo"]["rollbackDeploymentId"]), "Succeeded");
    assert_eq!(delivery.production().as_deref(), Some("aaaa"));
}
