//! Deployments under kills at every point, stops and time, against a real load balancer and a model of ECS.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::records::{Creator, Deployment, Phase, Verdict};
use super::super::{appspec, call};
use super::step;
use crate::clock::{Clock, Timestamp};
use crate::cloud::{Cloud, Settings};
use crate::error::ApiError;
use crate::services::Service;

/// A service with task sets, where tasks need ten seconds to become steady, or never do.
#[derive(Default)]
struct Ecs {
    sets: Vec<Value>,
    created: usize,
    broken: bool,
    /// The production listener.
    listener: String,
}

static MODELS: LazyLock<Mutex<HashMap<PathBuf, Ecs>>> = LazyLock::new(Mutex::default);

fn with<R>(cloud: &Cloud, act: impl FnOnce(&mut Ecs) -> R) -> Option<R> {
    MODELS.lock().unwrap().get_mut(cloud.data_dir()).map(act)
}

/// The answer of this endpoint's model, if it has one. Every call may be cut off before and after it takes effect.
pub(super) async fn ecs(cloud: &Cloud, operation: &str, input: &Value) -> Option<Result<Value, ApiError>> {
    tokio::task::yield_now().await;
    if operation == "DeleteTaskSet"
        && let Some((listener, group)) = with(cloud, |ecs| ecs.deleted(input)).flatten()
    {
        let weights = super::traffic::weights(cloud, &listener).await.unwrap();
        let serves = weights.iter().any(|(arn, weight)| *arn == group && *weight > 0);
        assert!(!serves, "a task set is deleted while its group has production traffic: {weights:?}");
    }
    let now = cloud.clock().now();
    let answer = with(cloud, |ecs| ecs.answer(operation, input, now));
    tokio::task::yield_now().await;
    answer
}

impl Ecs {
    fn add(&mut self, id: &str, group: &str, status: &str, input: &Value, now: Timestamp) -> Value {
        let set = json!({
            "id": id, "status": status, "externalId": input["externalId"], "taskDefinition": input["taskDefinition"],
            "loadBalancers": [{"targetGroupArn": group}], "computedDesiredCount": 2, "runningCount": 2,
            "pendingCount": 0, "createdAt": now,
        });
        self.sets.push(set.clone());
        set
    }

    /// The production listener, and the target group of the task set that is to be deleted.
    fn deleted(&mut self, input: &Value) -> Option<(String, String)> {
        let set = self.sets.iter().find(|set| set["id"] == input["taskSet"])?;
        Some((self.listener.clone(), set["loadBalancers"][0]["targetGroupArn"].as_str()?.to_owned()))
    }

    fn answer(&mut self, operation: &str, input: &Value, now: Timestamp) -> Result<Value, ApiError> {
        Ok(match operation {
            "DescribeServices" => {
                json!({"services": [{"status": "ACTIVE", "deploymentController": {"type": "CODE_DEPLOY"}}]})
            }
            "DescribeTaskSets" => {
                let mut sets = self.sets.clone();
                for set in &mut sets {
                    let old = now.seconds() - set["createdAt"].as_f64().unwrap() >= 10.0;
                    let steady = set["externalId"].is_null() || (old && !self.broken);
                    set["stabilityStatus"] = json!(if steady { "STEADY_STATE" } else { "STABILIZING" });
                }
                json!({"taskSets": sets})
            }
            "CreateTaskSet" => {
                self.created += 1;
                let group = input["loadBalancers"][0]["targetGroupArn"].as_str().unwrap().to_owned();
                let id = format!("ecs-svc/{}", self.created);
                json!({"taskSet": self.add(&id, &group, "ACTIVE", input, now)})
            }
            "UpdateServicePrimaryTaskSet" => {
                for set in &mut self.sets {
                    let primary = set["id"] == input["primaryTaskSet"];
                    set["status"] = json!(if primary { "PRIMARY" } else { "ACTIVE" });
                }
                json!({})
            }
            "DeleteTaskSet" => {
                self.sets.retain(|set| set["id"] != input["taskSet"]);
                json!({})
            }
            "ListTasks" => json!({"taskArns": []}),
            other => panic!("the model has no {other}"),
        })
    }
}

struct World {
    cloud: Cloud,
    listener: String,
    test_listener: String,
    groups: [String; 2],
    _data: tempfile::TempDir,
}

impl World {
    async fn new(termination_minutes: u64, stop_ready: bool, config: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings {
            listen: "127.0.0.1:1".parse().unwrap(),
            data_dir: data.path().to_owned(),
            region: "ap-northeast-1".to_owned(),
            sources: Default::default(),
            build_env: vec![],
            runtime: crate::runtime::Runtime::Process,
            advisories: None,
            shim: None,
        };
        let cloud = Cloud::open(settings, Clock::manual(Timestamp(1_764_000_000_000))).unwrap();
        let elb = async |operation: &str, input: Value| cloud.call(Service::Elbv2, operation, input).await.unwrap();
        let lb = elb("CreateLoadBalancer", json!({"Name": "app"})).await;
        let lb = lb["LoadBalancers"][0]["LoadBalancerArn"].clone();
        let mut groups = vec![];
        for name in ["blue", "green"] {
            let group = json!({"Name": name, "Protocol": "HTTP", "Port": 8080, "TargetType": "ip"});
            let created = elb("CreateTargetGroup", group).await;
            groups.push(created["TargetGroups"][0]["TargetGroupArn"].as_str().unwrap().to_owned());
        }
        let mut listeners = vec![];
        while listeners.len() < 2 {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            drop(socket);
            let action = json!([{"Type": "forward", "TargetGroupArn": groups[0]}]);
            let input = json!({"LoadBalancerArn": lb, "Protocol": "HTTP", "Port": port, "DefaultActions": action});
            // Someone else may take the port in between.
            if let Ok(created) = cloud.call(Service::Elbv2, "CreateListener", input).await {
                listeners.push(created["Listeners"][0]["ListenerArn"].as_str().unwrap().to_owned());
            }
        }
        let mut model = Ecs { listener: listeners[0].clone(), ..Ecs::default() };
        model.add("ecs-svc/0", &groups[0], "PRIMARY", &json!({"taskDefinition": "td:1"}), cloud.clock().now());
        MODELS.lock().unwrap().insert(data.path().to_owned(), model);
        let ready = if stop_ready {
            json!({"actionOnTimeout": "STOP_DEPLOYMENT", "waitTimeInMinutes": 5})
        } else {
            json!({"actionOnTimeout": "CONTINUE_DEPLOYMENT", "waitTimeInMinutes": 0})
        };
        call(&cloud, "CreateApplication", json!({"applicationName": "app", "computePlatform": "ECS"})).await.unwrap();
        let group = json!({
            "applicationName": "app", "deploymentGroupName": "group", "serviceRoleArn": "role",
            "deploymentConfigName": config,
            "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
            "blueGreenDeploymentConfiguration": {
                "deploymentReadyOption": ready,
                "terminateBlueInstancesOnDeploymentSuccess":
                    {"action": "TERMINATE", "terminationWaitTimeInMinutes": termination_minutes},
            },
            "ecsServices": [{"clusterName": "cluster", "serviceName": "service"}],
            "autoRollbackConfiguration": {"enabled": true, "events": ["DEPLOYMENT_FAILURE"]},
            "loadBalancerInfo": {"targetGroupPairInfoList": [{
                "targetGroups": [{"name": "blue"}, {"name": "green"}],
                "prodTrafficRoute": {"listenerArns": [listeners[0]]},
                "testTrafficRoute": {"listenerArns": [listeners[1]]},
            }]},
        });
        call(&cloud, "CreateDeploymentGroup", group).await.unwrap();
        let [listener, test_listener] = <[String; 2]>::try_from(listeners).unwrap();
        Self { cloud, listener, test_listener, groups: groups.try_into().unwrap(), _data: data }
    }

    async fn deploy(&self, definition: &str) -> Result<String, ApiError> {
        let created = call(
            &self.cloud,
            "CreateDeployment",
            json!({
                "applicationName": "app", "deploymentGroupName": "group",
                "revision": appspec::revision_of(definition, "chatbot", 8080),
            }),
        )
        .await?;
        Ok(created["deploymentId"].as_str().unwrap().to_owned())
    }

    fn open(&self) -> Vec<Deployment> {
        self.cloud.store().find::<Deployment>(|deployment| !deployment.phase.ended())
    }

    fn get(&self, id: &str) -> Deployment {
        self.cloud.store().get(id).unwrap()
    }

    async fn run(&self, minutes: u64) {
        for _ in 0..minutes * 4 {
            if self.open().is_empty() {
                return;
            }
            for _ in 0..8 {
                for deployment in self.open() {
                    step(&self.cloud, &deployment).await;
                }
            }
            self.check().await;
            self.cloud.clock().advance(Duration::from_secs(15));
        }
    }

    async fn weights(&self, listener: &str) -> HashMap<String, u64> {
        super::traffic::weights(&self.cloud, listener).await.unwrap().into_iter().collect()
    }

    /// What must hold at every moment: whoever gets production traffic has a steady task set behind it.
    async fn check(&self) {
        let sets = ecs(&self.cloud, "DescribeTaskSets", &json!({})).await.unwrap().unwrap();
        for (group, weight) in self.weights(&self.listener).await {
            let served = sets["taskSets"].as_array().unwrap().iter().any(|set| {
                set["loadBalancers"][0]["targetGroupArn"] == group && set["stabilityStatus"] == "STEADY_STATE"
            });
            assert!(weight == 0 || served, "{group} has weight {weight} and nothing steady behind it");
        }
        assert!(self.open().len() <= 1, "one deployment of a group at a time");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        MODELS.lock().unwrap().remove(self.cloud.data_dir());
        self.cloud.data_plane().stop();
    }
}

/// Runs a future for at most so many turns and drops it then, as a kill would.
async fn killed_after(turns: usize, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut left = turns;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(context)
    })
    .await;
}

const CANARY: &str = "CodeDeployDefault.ECSCanary10Percent5Minutes";

#[tokio::test]
async fn two_deployments_swap_the_groups_and_wait_as_configured() {
    let world = World::new(10, false, CANARY).await;
    let first = world.deploy("td:2").await.unwrap();
    assert_eq!(world.deploy("td:3").await.unwrap_err().code, "DeploymentLimitExceededException");
    world.run(2).await;
    assert_eq!(world.weights(&world.listener).await[&world.groups[1]], 10);
    assert_eq!(world.weights(&world.test_listener).await[&world.groups[1]], 100);
    assert_eq!(world.get(&first).status(), "InProgress");
    world.run(5).await;
    assert_eq!(world.weights(&world.listener).await[&world.groups[1]], 100);
    assert_eq!(world.get(&first).status(), "Baking", "the original stays for ten minutes");
    let target = json!({"deploymentId": first, "targetId": "cluster:service"});
    let target = call(&world.cloud, "GetDeploymentTarget", target).await.unwrap();
    let sets = &target["deploymentTarget"]["ecsTarget"]["taskSetsInfo"];
    assert_eq!((&sets[0]["taskSetLabel"], &sets[0]["trafficWeight"]), (&json!("Blue"), &json!(0.0)));
    assert_eq!((&sets[1]["taskSetLabel"], &sets[1]["trafficWeight"]), (&json!("Green"), &json!(100.0)));
    world.run(10).await;
    assert_eq!(world.get(&first).status(), "Succeeded");

    let second = world.deploy("td:3").await.unwrap();
    world.run(1).await;
    assert_eq!(world.weights(&world.listener).await[&world.groups[0]], 10, "blue is not always the first of the pair");
    world.run(20).await;
    assert_eq!(world.get(&second).status(), "Succeeded");
    assert_eq!(with(&world.cloud, |ecs| ecs.sets.len()), Some(1));
}

#[tokio::test]
async fn a_version_that_never_gets_steady_is_rolled_back_after_an_hour() {
    let world = World::new(0, false, CANARY).await;
    with(&world.cloud, |ecs| ecs.broken = true);
    let id = world.deploy("td:2").await.unwrap();
    world.run(59).await;
    assert_eq!(world.get(&id).status(), "InProgress");
    world.run(3).await;
    let failed = world.get(&id);
    assert_eq!(failed.status(), "Failed");
    assert_eq!(failed.error.map(|error| error.code), Some("HEALTH_CONSTRAINTS".to_owned()));
    let rollback = world.get(&failed.rollback.rollback_deployment_id.unwrap());
    assert_eq!((rollback.status(), rollback.creator), ("Succeeded", Creator::Rollback));
    assert_eq!(rollback.rollback.rollback_triggering_deployment_id, Some(id));
    assert_eq!(with(&world.cloud, |ecs| ecs.sets.len()), Some(1));
}

#[tokio::test]
async fn a_gate_waits_for_somebody() {
    let world = World::new(0, true, "CodeDeployDefault.ECSAllAtOnce").await;
    let id = world.deploy("td:2").await.unwrap();
    world.run(2).await;
    assert_eq!(world.get(&id).status(), "Ready");
    assert_eq!(world.weights(&world.listener).await[&world.groups[1]], 0);
    call(&world.cloud, "ContinueDeployment", json!({"deploymentId": id, "deploymentWaitType": "READY_WAIT"}))
        .await
        .unwrap();
    world.run(1).await;
    assert_eq!(world.get(&id).status(), "Succeeded");

    let forgotten = world.deploy("td:3").await.unwrap();
    world.run(8).await;
    assert_eq!(world.get(&forgotten).status(), "Stopped");
    assert_eq!(world.weights(&world.test_listener).await[&world.groups[1]], 100, "test traffic is back");
}

#[derive(Debug, Clone)]
enum Act {
    Step,
    Kill(usize),
    Wait(u64),
    Stop(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => Just(Act::Step),
        6 => (0..14usize).prop_map(Act::Kill),
        3 => (1..200u64).prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::Stop),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_deployment_ends_truthfully_whatever_happens(acts in acts(), linear: bool, broken: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = if linear { "CodeDeployDefault.ECSLinear10PercentEvery1Minutes" } else { CANARY };
            let world = World::new(5, false, config).await;
            with(&world.cloud, |ecs| ecs.broken = broken);
            let id = world.deploy("td:2").await.unwrap();
            let mut stopped = None;
            for act in acts {
                match act {
                    Act::Step => for deployment in world.open() { step(&world.cloud, &deployment).await },
                    Act::Kill(turns) => for deployment in world.open() {
                        killed_after(turns, step(&world.cloud, &deployment)).await;
                    },
                    Act::Wait(seconds) => world.cloud.clock().advance(Duration::from_secs(seconds)),
                    Act::Stop(rollback) => {
                        let input = json!({"deploymentId": id, "autoRollbackEnabled": rollback});
                        if call(&world.cloud, "StopDeployment", input).await.is_ok() {
                            stopped.get_or_insert(rollback);
                        }
                    }
                }
                world.check().await;
            }
            world.run(90).await;
            let ended = world.get(&id);
            let Phase::Ended(verdict) = ended.phase else { panic!("it did not end: {:?}", ended.phase) };
            let production = world.weights(&world.listener).await;
            prop_assert_eq!(production.values().sum::<u64>(), if production.len() == 1 { 1 } else { 100 });
            let sets = with(&world.cloud, |ecs| ecs.sets.clone()).unwrap();
            let rolled_back = ended.rollback.rollback_deployment_id.as_ref().map(|id| world.get(id));
            let blue_serves = production.get(&world.groups[1]).copied().unwrap_or_default() == 0;
            match verdict {
                Verdict::Succeeded => {
                    prop_assert!(!broken && stopped.is_none());
                    prop_assert_eq!(production[&world.groups[1]], 100);
                    prop_assert_eq!(sets.len(), 1);
                    prop_assert_eq!(&sets[0]["status"], "PRIMARY");
                }
                Verdict::Stopped => prop_assert!(stopped.is_some()),
                Verdict::Failed => prop_assert!(broken && rolled_back.is_some()),
            }
            if let Some(rollback) = rolled_back {
                prop_assert_eq!(rollback.phase, Phase::Ended(Verdict::Succeeded));
                prop_assert!(blue_serves);
            }
            if verdict != Verdict::Succeeded && blue_serves {
                prop_assert_eq!(sets.len(), 1, "what serves nobody is removed");
                prop_assert_eq!(&sets[0]["id"], "ecs-svc/0");
                prop_assert_eq!(&sets[0]["status"], "PRIMARY");
            }
            Ok(())
        })?;
    }
}
