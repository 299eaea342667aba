//! Elastic Load Balancing v2: application load balancers whose listeners really listen (see [`crate::dataplane`]).
//!
//! Every change is live in the data plane when its operation returns: a weight change splits requests into those before
//! it and those after it, and loses none.

mod actions;
mod attributes;
mod listeners;
mod load_balancers;
pub(crate) mod records;
mod rules;
mod tags;
mod target_groups;
mod targets;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::cloud::Cloud;
use crate::engine;
use crate::error::ApiError;
use crate::services::{Service, unsupported_operation};
use records::{Listener, Rule};
pub(crate) use target_groups::code_ranges;

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateLoadBalancer" => load_balancers::create(cloud, input),
        "DescribeLoadBalancers" => load_balancers::describe(cloud, input),
        "DeleteLoadBalancer" => load_balancers::delete(cloud, input),
        "DescribeLoadBalancerAttributes" => attributes::describe_load_balancer(cloud, input),
        "ModifyLoadBalancerAttributes" => attributes::modify_load_balancer(cloud, input),
        "CreateTargetGroup" => target_groups::create(cloud, input),
        "ModifyTargetGroup" => target_groups::modify(cloud, input),
        "DescribeTargetGroups" => target_groups::describe(cloud, input),
        "DeleteTargetGroup" => target_groups::delete(cloud, input),
        "DescribeTargetGroupAttributes" => attributes::describe_target_group(cloud, input),
        "ModifyTargetGroupAttributes" => attributes::modify_target_group(cloud, input),
        "RegisterTargets" => targets::register(cloud, input),
        "DeregisterTargets" => targets::deregister(cloud, input),
        "DescribeTargetHealth" => targets::describe_health(cloud, input),
        "CreateListener" => listeners::create(cloud, input).await,
        "ModifyListener" => listeners::modify(cloud, input).await,
        "DescribeListeners" => listeners::describe(cloud, input),
        "DeleteListener" => listeners::delete(cloud, input),
        "CreateRule" => rules::create(cloud, input),
        "ModifyRule" => rules::modify(cloud, input),
        "DescribeRules" => rules::describe(cloud, input),
        "DeleteRule" => rules::delete(cloud, input),
        "AddTags" => tags::add(cloud, input),
        "RemoveTags" => tags::remove(cloud, input),
        "DescribeTags" => tags::describe(cloud, input),
        _ => Err(unsupported_operation(Service::Elbv2, operation)),
    }
}

/// Binds the recorded listeners at once, and starts what keeps them bound, ends draining and reports metrics.
pub(crate) fn start(cloud: &Cloud) -> Vec<JoinHandle<()>> {
    cloud.data_plane().apply(cloud);
    vec![
        engine::supervise("elbv2", cloud, |cloud| async move {
            let mut changes = cloud.store().changes();
            loop {
                // A port that an earlier endpoint still holds becomes free in a moment.
                if cloud.data_plane().has_unbound_listeners() {
                    cloud.data_plane().apply(&cloud);
                }
                let draining = targets::finish_draining(&cloud);
                let at_most = if draining { Duration::from_millis(50) } else { Duration::from_millis(500) };
                engine::pause(&mut changes, at_most).await;
            }
        }),
        engine::supervise(
            "elbv2 metrics",
            cloud,
            |cloud| async move { crate::dataplane::metrics::report(cloud).await },
        ),
    ]
}

/// The target groups that some listener or rule forwards to.
pub(crate) fn groups_in_use(listeners: &[Listener], rules: &[Rule]) -> BTreeSet<String> {
    let actions =
        listeners.iter().map(|listener| &listener.default_action).chain(rules.iter().map(|rule| &rule.action));
    actions.flat_map(records::Action::groups).map(str::to_owned).collect()
}

/// Sixteen random hexadecimal digits, as AWS ends its ARNs with.
fn random_id() -> String {
    format!("{:016x}", crate::ids::random())
}

fn validation(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationError", message)
}

/// One page of `items`: `{<member>: [...], NextMarker}`.
fn page(member: &str, items: Vec<Value>, size: Option<usize>, marker: Option<&str>) -> Result<Value, ApiError> {
    let from = match marker {
        Some(marker) => {
            marker.parse::<usize>().map_err(|_| validation(format!("The marker '{marker}' is not valid")))?
        }
        None => 0,
    };
    let total = items.len();
    let size = size.unwrap_or(400).max(1);
    let mut answer = json!({});
    answer[member] = items.into_iter().skip(from).take(size).collect();
    if from + size < total {
        answer["NextMarker"] = json!((from + size).to_string());
    }
    Ok(answer)
}
