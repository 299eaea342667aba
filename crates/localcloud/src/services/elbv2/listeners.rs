//! Listeners. Each one listens on 127.0.0.1 at its own port.

use std::collections::BTreeMap;
use std::convert::Infallible;

use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::{self, ActionInput};
use super::records::{Listener, Pair, Rule};
use super::{load_balancers, page, random_id, validation};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    load_balancer_arn: String,
    protocol: Option<String>,
    port: Option<u16>,
    default_actions: Vec<ActionInput>,
    #[serde(default)]
    tags: Vec<Pair>,
}

pub(super) async fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Create = parse(input)?;
    let balancer = load_balancers::get(cloud, &input.load_balancer_arn)?;
    check_protocol(input.protocol.as_deref())?;
    let port = input.port.filter(|port| *port > 0).ok_or_else(|| validation("A port must be specified"))?;
    let default_action = actions::read(cloud, &input.load_balancer_arn, input.default_actions)?;
    let path = input.load_balancer_arn.split_once(":loadbalancer/").map_or("", |(_, path)| path);
    let listener = Listener {
        listener_arn: cloud.arn("elasticloadbalancing", format_args!("listener/{path}/{}", random_id())),
        load_balancer_arn: balancer.load_balancer_arn,
        port,
        default_action,
        tags: input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect::<BTreeMap<_, _>>(),
    };
    check_port(cloud, &listener)?;
    cloud.data_plane().bind(&listener.listener_arn, port).await.map_err(|error| cannot_listen(port, &error))?;
    cloud.store().put(&listener.listener_arn, &listener);
    cloud.data_plane().apply(cloud);
    Ok(json!({"Listeners": [description(&listener)]}))
}

fn check_protocol(protocol: Option<&str>) -> Result<(), ApiError> {
    match protocol {
        Some("HTTP") => Ok(()),
        Some(other) => Err(ApiError::unsupported(format_args!("a listener with protocol {other} (use HTTP here)"))),
        None => Err(validation("A protocol must be specified")),
    }
}

/// Refuses a port that another listener of this machine has.
fn check_port(cloud: &Cloud, listener: &Listener) -> Result<(), ApiError> {
    let taken = cloud
        .store()
        .find::<Listener>(|other| other.port == listener.port && other.listener_arn != listener.listener_arn)
        .pop();
    match taken {
        None => Ok(()),
        Some(other) if other.load_balancer_arn == listener.load_balancer_arn => Err(ApiError::new(
            "DuplicateListener",
            format!("A listener already exists on this port ({}) for this load balancer", listener.port),
        )),
        Some(other) => Err(ApiError::new(
            "InvalidConfigurationRequest",
            format!(
                "Port {} is used by a listener of '{}'; on the embedded endpoint all load balancers share 127.0.0.1, so give each its own ports",
                other.port, other.load_balancer_arn
            ),
        )),
    }
}

fn cannot_listen(port: u16, error: &std::io::Error) -> ApiError {
    let why = if error.kind() == std::io::ErrorKind::AddrInUse {
        "another program on this machine uses it; stop that program or choose another port".to_owned()
    } else {
        error.to_string()
    };
    ApiError::new("InvalidConfigurationRequest", format!("The listener cannot listen on 127.0.0.1:{port}: {why}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Modify {
    listener_arn: String,
    protocol: Option<String>,
    port: Option<u16>,
    #[serde(default)]
    default_actions: Vec<ActionInput>,
}

pub(super) async fn modify(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Modify = parse(input)?;
    let mut listener = get(cloud, &input.listener_arn)?;
    if let Some(protocol) = &input.protocol {
        check_protocol(Some(protocol))?;
    }
    let action = match input.default_actions {
        actions if actions.is_empty() => None,
        actions => Some(actions::read(cloud, &listener.load_balancer_arn, actions)?),
    };
    if let Some(port) = input.port.filter(|port| *port != listener.port) {
        listener.port = port;
        check_port(cloud, &listener)?;
        cloud.data_plane().bind(&listener.listener_arn, port).await.map_err(|error| cannot_listen(port, &error))?;
    }
    let changed = cloud.store().update::<Listener>(&listener.listener_arn, |record| {
        record.port = listener.port;
        if let Some(action) = action {
            record.default_action = action;
        }
    });
    cloud.data_plane().apply(cloud);
    let changed = changed.ok_or_else(|| not_found(&input.listener_arn))?;
    Ok(json!({"Listeners": [description(&changed)]}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe {
    load_balancer_arn: Option<String>,
    #[serde(default)]
    listener_arns: Vec<String>,
    marker: Option<String>,
    page_size: Option<usize>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Describe = parse(input)?;
    let mut wanted = match &input.load_balancer_arn {
        Some(arn) => {
            load_balancers::get(cloud, arn)?;
            cloud.store().find::<Listener>(|listener| listener.load_balancer_arn == *arn)
        }
        None if input.listener_arns.is_empty() => {
            return Err(validation("You must specify either listener ARNs or a load balancer ARN"));
        }
        None => input.listener_arns.iter().map(|arn| get(cloud, arn)).collect::<Result<Vec<_>, _>>()?,
    };
    wanted.sort_by_key(|listener| listener.port);
    page("Listeners", wanted.iter().map(description).collect(), input.page_size, input.marker.as_deref())
}

fn not_found(arn: &str) -> ApiError {
    ApiError::new("ListenerNotFound", format!("Listener '{arn}' not found"))
}

/// The listener of an ARN.
pub(super) fn get(cloud: &Cloud, arn: &str) -> Result<Listener, ApiError> {
    cloud.store().get(arn).ok_or_else(|| not_found(arn))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    listener_arn: String,
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Delete { listener_arn: arn } = parse(input)?;
    get(cloud, &arn)?;
    let _: Result<(), Infallible> = cloud.store().write(|tx| {
        for (rule_arn, rule) in tx.all::<Rule>() {
            if rule.listener_arn == arn {
                tx.delete::<Rule>(&rule_arn);
            }
        }
        tx.delete::<Listener>(&arn);
        Ok(())
    });
    cloud.data_plane().apply(cloud);
    Ok(json!({}))
}

fn description(listener: &Listener) -> Value {
    json!({
        "ListenerArn": listener.listener_arn,
        "LoadBalancerArn": listener.load_balancer_arn,
        "Port": listener.port,
        "Protocol": "HTTP",
        "DefaultActions": actions::describe(&listener.default_action),
    })
}
