//! What serves now, read from ECS and from the load balancer.

use aws_sdk_ecs::types::{Service, TaskDefinition};
use serde::Serialize;

use crate::call::failed;
use crate::context::Context;
use crate::error::{Error, Message};
use crate::{git, probe};

/// What serves now.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) desired: i32,
    pub(crate) running: i32,
    pub(crate) pending: i32,
    /// ARN of the task definition of the primary task set.
    pub(crate) task_definition: Option<String>,
    /// Target group of the primary task set.
    pub(crate) primary_target_group: Option<String>,
    /// ARNs of all target groups of the listener.
    pub(crate) weights: Vec<Weight>,
    pub(crate) image: Option<String>,
    pub(crate) url: Option<String>,
}

/// What the production listener gives a target group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Weight {
    pub(crate) target_group: String,
    pub(crate) percent: i32,
    #[serde(skip)]
    pub(crate) arn: String,
}

/// A target and what the load balancer thinks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Target {
    pub(crate) target: String,
    pub(crate) target_group: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
}

impl Live {
    /// The digest of the image that serves.
    pub(crate) fn digest(&self) -> Option<String> {
        self.image.as_deref().and_then(digest_of)
    }

    /// Whether all traffic goes to the primary task set: what ECS believes and what the load balancer does agree.
    pub(crate) fn check_weights(&self) -> Result<(), Message> {
        let Some(primary) = &self.primary_target_group else { return Ok(()) };
        let total: i32 = self.weights.iter().map(|weight| weight.percent).sum();
        let on_primary: i32 =
            self.weights.iter().filter(|weight| &weight.arn == primary).map(|weight| weight.percent).sum();
        if total > 0 && on_primary == total {
            return Ok(());
        }
        let weights: Vec<_> =
            self.weights.iter().map(|weight| format!("{} {}%", weight.target_group, weight.percent)).collect();
        Err(Message::new(
            "the listener does not send all traffic to the primary task set",
            format!("the load balancer has {}, ECS names {} primary", weights.join(", "), short_group(primary)),
            "somebody changed the listener, or a deployment is running: see `cargo xtask status`",
        ))
    }
}

/// `repo@sha256:…` to `sha256:…`.
pub(crate) fn digest_of(image: &str) -> Option<String> {
    image.split_once('@').map(|(_, digest)| digest.to_owned())
}

/// The name in a target group's ARN.
pub(crate) fn short_group(arn: &str) -> String {
    arn.split(":targetgroup/").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or(arn).to_owned()
}

/// The service, if it exists.
pub(crate) async fn service(context: &Context) -> Result<Option<Service>, Error> {
    let names = context.names();
    let output = context
        .clients
        .ecs
        .describe_services()
        .cluster(names.environment_wide())
        .services(names.service())
        .send()
        .await
        .map_err(failed(format!("read the service of {}", names.environment_wide())));
    match output {
        Ok(output) => Ok(output
            .services
            .unwrap_or_default()
            .into_iter()
            .find(|service| service.status.as_deref() != Some("INACTIVE"))),
        Err(error) if error.aws_code() == Some("ClusterNotFoundException") => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a task definition.
pub(crate) async fn task_definition(context: &Context, arn: &str) -> Result<TaskDefinition, Error> {
    let output = context
        .clients
        .ecs
        .describe_task_definition()
        .task_definition(arn)
        .send()
        .await
        .map_err(failed(format!("read task definition {arn}")))?;
    output
        .task_definition
        .ok_or_else(|| Error::unexpected(format!("task definition {arn} is empty"), "AWS answered without it", ""))
}

/// The image of the service's container in a task definition.
pub(crate) fn image_of(definition: &TaskDefinition, container: &str) -> Option<String> {
    let containers = definition.container_definitions.as_deref().unwrap_or_default();
    containers.iter().find(|c| c.name.as_deref() == Some(container))?.image.clone()
}

/// What serves now; nothing if the environment has no service yet.
pub(crate) async fn read(context: &Context) -> Result<Option<Live>, Error> {
    let Some(service) = service(context).await? else { return Ok(None) };
    let primary =
        service.task_sets.unwrap_or_default().into_iter().find(|set| set.status.as_deref() == Some("PRIMARY"));
    let task_definition_arn = primary.as_ref().and_then(|set| set.task_definition.clone()).or(service.task_definition);
    let balancers = primary.and_then(|set| set.load_balancers).or(service.load_balancers).unwrap_or_default();
    let image = match &task_definition_arn {
        Some(arn) => image_of(&task_definition(context, arn).await?, context.names().service()),
        None => None,
    };
    Ok(Some(Live {
        desired: service.desired_count,
        running: service.running_count,
        pending: service.pending_count,
        task_definition: task_definition_arn,
        primary_target_group: balancers.into_iter().find_map(|balancer| balancer.target_group_arn),
        weights: weights(context).await?,
        image,
        url: url(context).await?,
    }))
}

/// The address of the environment, from its stack's outputs.
pub(crate) async fn url(context: &Context) -> Result<Option<String>, Error> {
    let name = context.names().service_stack();
    let stack = crate::change_set::stack(context, &name).await?;
    let outputs = stack.and_then(|stack| stack.outputs).unwrap_or_default();
    Ok(outputs.into_iter().find(|output| output.output_key.as_deref() == Some("Url")).and_then(|o| o.output_value))
}

/// The weights of the production listener, as the load balancer has them.
pub(crate) async fn weights(context: &Context) -> Result<Vec<Weight>, Error> {
    let client = &context.clients.balancer;
    let name = context.names().environment_wide();
    let output = client.describe_load_balancers().names(&name).send().await;
    let output = match output.map_err(failed(format!("read load balancer {name}"))) {
        Ok(output) => output,
        Err(error) if error.aws_code().is_some_and(|code| code.starts_with("LoadBalancerNotFound")) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let Some(balancer) = output.load_balancers.unwrap_or_default().into_iter().find_map(|lb| lb.load_balancer_arn)
    else {
        return Ok(Vec::new());
    };
    let listeners = client
        .describe_listeners()
        .load_balancer_arn(balancer)
        .send()
        .await
        .map_err(failed(format!("read the listeners of {name}")))?
        .listeners
        .unwrap_or_default();
    let port = i32::from(context.environment.edge.port);
    let production = listeners.into_iter().find(|listener| listener.port == Some(port));
    let mut weights = Vec::new();
    for action in production.and_then(|listener| listener.default_actions).unwrap_or_default() {
        let groups = action.forward_config.and_then(|forward| forward.target_groups).unwrap_or_default();
        if groups.is_empty() {
            weights.extend(action.target_group_arn.map(|arn| weight(arn, 100)));
        }
        for group in groups {
            weights.extend(group.target_group_arn.map(|arn| weight(arn, group.weight.unwrap_or(0))));
        }
    }
    Ok(in_percent(weights))
}

fn weight(arn: String, percent: i32) -> Weight {
    Weight { target_group: short_group(&arn), percent, arn }
}

/// Weights are relative (1 and 0 after creation, 90 and 10 in a canary); people read shares.
fn in_percent(mut weights: Vec<Weight>) -> Vec<Weight> {
    let total: i32 = weights.iter().map(|weight| weight.percent).sum();
    if total > 0 {
        for weight in &mut weights {
            weight.percent = weight.percent * 100 / total;
        }
    }
    weights
}

/// The targets of a target group.
pub(crate) async fn targets(context: &Context, group_arn: &str) -> Result<Vec<Target>, Error> {
    let output = context
        .clients
        .balancer
        .describe_target_health()
        .target_group_arn(group_arn)
        .send()
        .await
        .map_err(failed(format!("read the target health of {}", short_group(group_arn))))?;
    let targets = output.target_health_descriptions.unwrap_or_default().into_iter().map(|description| {
        let (id, port) = description.target.map(|t| (t.id.unwrap_or_default(), t.port)).unwrap_or_default();
        let health = description.target_health;
        let text = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        let code = health.as_ref().and_then(|h| h.reason.as_ref()).map(|reason| reason.as_str().to_owned());
        let reason = health.as_ref().and_then(|h| text(&h.description)).map_or(code.clone(), |description| {
            Some(code.map_or(description.clone(), |code| format!("{description} ({code})")))
        });
        Target {
            target: port.map_or(id.clone(), |port| format!("{id}:{port}")),
            target_group: short_group(group_arn),
            state: health.and_then(|h| h.state).map_or_else(|| "unknown".to_owned(), |s| s.as_str().to_owned()),
            reason,
        }
    });
    Ok(targets.collect())
}

/// The commit an image was built from: from its tags, else from what answers at the address.
pub(crate) async fn commit(context: &Context, digest: &str, url: Option<&str>) -> Result<Option<String>, Error> {
    if let Some(short) = short_commit(context, digest).await? {
        return Ok(Some(git::commit(context.root(), &short).unwrap_or(short)));
    }
    match url {
        Some(url) => Ok(probe::commit(url).await),
        None => Ok(None),
    }
}

/// The commit in an image's tags.
pub(crate) async fn short_commit(context: &Context, digest: &str) -> Result<Option<String>, Error> {
    let id = aws_sdk_ecr::types::ImageIdentifier::builder().image_digest(digest).build();
    let output = context
        .clients
        .ecr
        .describe_images()
        .repository_name(&context.project.image_repository)
        .image_ids(id)
        .send()
        .await
        .map_err(failed("read the tags of the image"));
    let images = match output {
        Ok(output) => output.image_details.unwrap_or_default(),
        Err(error) if error.aws_code().is_some_and(|c| c.contains("NotFound")) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut tags = images.into_iter().flat_map(|image| image.image_tags.unwrap_or_default());
    Ok(tags.find(|tag| is_commit(tag)))
}

fn is_commit(tag: &str) -> bool {
    (7..=40).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(weights: &[(&str, i32)]) -> Live {
        let arn = |name: &str| format!("arn:aws:elasticloadbalancing:r:0:targetgroup/{name}/1");
        Live {
            desired: 1,
            running: 1,
            pending: 0,
            task_definition: None,
            primary_target_group: Some(arn("blue")),
            weights: in_percent(weights.iter().map(|(name, percent)| weight(arn(name), *percent)).collect()),
            image: Some("127.0.0.1:7400/a/b@sha256:00".into()),
            url: None,
        }
    }

    #[test]
    fn weights_must_all_be_on_the_primary_task_set() {
        assert!(live(&[("blue", 1), ("green", 0)]).check_weights().is_ok());
        assert!(live(&[("blue", 100)]).check_weights().is_ok());
        let error = live(&[("blue", 90), ("green", 10)]).check_weights().unwrap_err();
        assert_eq!(error.why, "the load balancer has blue 90%, green 10%, ECS names blue primary");
        assert!(live(&[("blue", 0), ("green", 1)]).check_weights().is_err());
        assert!(live(&[]).check_weights().is_err());
    }

    #[test]
    fn digests_and_commits_are_recognised() {
        assert_eq!(live(&[]).digest().as_deref(), Some("sha256:00"));
        assert!(is_commit("0a1b2c3"));
        assert!(!is_commit("v1.2.3") && !is_commit("staging-0a1b2c3") && !is_commit("abc"));
    }
}
