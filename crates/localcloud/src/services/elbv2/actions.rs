//! Actions of listeners and rules: from AWS's shape to ours and back.

use serde::Deserialize;
use serde_json::{Value, json};

use super::records::{Action, Redirect, Share};
use super::{load_balancers, target_groups, validation};
use crate::cloud::Cloud;
use crate::error::ApiError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ActionInput {
    r#type: String,
    target_group_arn: Option<String>,
    forward_config: Option<ForwardConfig>,
    fixed_response_config: Option<FixedResponse>,
    redirect_config: Option<Redirect>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ForwardConfig {
    #[serde(default)]
    target_groups: Vec<Share>,
    target_group_stickiness_config: Option<Stickiness>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stickiness {
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FixedResponse {
    status_code: String,
    content_type: Option<String>,
    message_body: Option<String>,
}

/// Reads the one action that a listener or rule of ours may have, for a listener of `load_balancer`.
pub(super) fn read(cloud: &Cloud, load_balancer: &str, mut actions: Vec<ActionInput>) -> Result<Action, ApiError> {
    let Some(input) = actions.pop() else { return Err(validation("An action must be specified")) };
    if !actions.is_empty() {
        return Err(ApiError::unsupported("more than one action (authentication before forwarding)"));
    }
    match input.r#type.as_str() {
        "forward" => forward(cloud, load_balancer, input),
        "fixed-response" => fixed(input),
        "redirect" => {
            let redirect = input
                .redirect_config
                .ok_or_else(|| validation("You must specify a redirect configuration with the type 'redirect'"))?;
            if !matches!(redirect.status_code.as_str(), "HTTP_301" | "HTTP_302") {
                return Err(validation(format!("The redirect status code '{}' is not valid", redirect.status_code)));
            }
            Ok(Action::Redirect(redirect))
        }
        other => Err(ApiError::unsupported(format_args!("an action of type {other}"))),
    }
}

fn forward(cloud: &Cloud, load_balancer: &str, input: ActionInput) -> Result<Action, ApiError> {
    let shares = match (input.forward_config, input.target_group_arn) {
        (Some(config), arn) => {
            if config.target_group_stickiness_config.and_then(|stickiness| stickiness.enabled) == Some(true) {
                return Err(ApiError::unsupported("target group stickiness"));
            }
            // AWS's own answers carry both forms; given back together they must agree.
            if arn.is_some_and(|arn| !config.target_groups.iter().any(|share| share.target_group_arn == arn)) {
                return Err(validation("The target group ARN and the forward configuration do not agree"));
            }
            config.target_groups
        }
        (None, Some(target_group_arn)) => vec![Share { target_group_arn, weight: 1 }],
        (None, None) => vec![],
    };
    if !(1..=5).contains(&shares.len()) {
        return Err(validation("A forward action must have one to five target groups"));
    }
    let owners = load_balancers::by_target_group(cloud);
    for (index, share) in shares.iter().enumerate() {
        let arn = &share.target_group_arn;
        target_groups::get(cloud, arn)?;
        if share.weight > 999 {
            return Err(validation(format!("The weight '{}' must be from 0 to 999", share.weight)));
        }
        if shares[..index].iter().any(|other| other.target_group_arn == *arn) {
            return Err(validation(format!("The target group '{arn}' is named twice")));
        }
        if owners.get(arn).is_some_and(|owners| owners.iter().any(|owner| owner != load_balancer)) {
            return Err(ApiError::new(
                "TargetGroupAssociationLimit",
                format!("Target group '{arn}' is associated with another load balancer"),
            ));
        }
    }
    Ok(Action::Forward(shares))
}

fn fixed(input: ActionInput) -> Result<Action, ApiError> {
    let config = input
        .fixed_response_config
        .ok_or_else(|| validation("You must specify a fixed response configuration with the type 'fixed-response'"))?;
    let status = config.status_code.parse::<u16>().ok().filter(|status| matches!(status / 100, 2 | 4 | 5));
    let content_type = config.content_type.unwrap_or_else(|| "text/plain".to_owned());
    match status {
        Some(_) if content_type.parse::<hyper::header::HeaderValue>().is_err() => {
            Err(validation(format!("The content type '{content_type}' is not valid")))
        }
        Some(status) => Ok(Action::Fixed { status, content_type, body: config.message_body.unwrap_or_default() }),
        None => Err(validation(format!("The fixed response status code '{}' is not valid", config.status_code))),
    }
}

/// The action as AWS describes it.
pub(super) fn describe(action: &Action) -> Vec<Value> {
    let value = match action {
        Action::Forward(shares) => {
            let mut value = json!({
                "Type": "forward",
                "Order": 1,
                "ForwardConfig": {
                    "TargetGroups": shares,
                    "TargetGroupStickinessConfig": {"Enabled": false},
                },
            });
            if let [share] = shares.as_slice() {
                value["TargetGroupArn"] = json!(share.target_group_arn);
            }
            value
        }
        Action::Fixed { status, content_type, body } => json!({
            "Type": "fixed-response",
            "Order": 1,
            "FixedResponseConfig": {"StatusCode": status.to_string(), "ContentType": content_type, "MessageBody": body},
        }),
        Action::Redirect(redirect) => json!({"Type": "redirect", "Order": 1, "RedirectConfig": redirect}),
    };
    vec![value]
}
