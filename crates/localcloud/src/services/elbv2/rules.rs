//! Listener rules. The default rule is the listener's default action under a name of its own.

use serde::Deserialize;
use serde_json::{Value, json};

use super::actions::{self, ActionInput};
use super::records::{Condition, Listener, Pair, Rule};
use super::{listeners, page, random_id, validation};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::parse;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConditionInput {
    field: Option<String>,
    #[serde(default)]
    values: Vec<String>,
    host_header_config: Option<Values>,
    path_pattern_config: Option<Values>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Values {
    #[serde(default)]
    values: Vec<String>,
}

impl ConditionInput {
    fn read(self) -> Result<Condition, ApiError> {
        let own = |config: Option<Values>| config.map(|config| config.values).unwrap_or_default();
        let (path, host) = (own(self.path_pattern_config), own(self.host_header_config));
        let pick = |configured: Vec<String>| if configured.is_empty() { self.values.clone() } else { configured };
        let condition = match self.field.as_deref() {
            Some("path-pattern") => Condition::Path(pick(path)),
            Some("host-header") => Condition::Host(pick(host)),
            Some(other) => return Err(ApiError::unsupported(format_args!("a rule condition on {other}"))),
            None => return Err(validation("A condition field must be specified")),
        };
        match &condition {
            Condition::Path(values) | Condition::Host(values) if values.is_empty() => {
                Err(validation("A condition value must be specified"))
            }
            _ => Ok(condition),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    listener_arn: String,
    conditions: Vec<ConditionInput>,
    priority: u32,
    actions: Vec<ActionInput>,
    #[serde(default)]
    tags: Vec<Pair>,
}

pub(super) fn create(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Create = parse(input)?;
    let listener = listeners::get(cloud, &input.listener_arn)?;
    if !(1..=50_000).contains(&input.priority) {
        return Err(validation(format!("The priority '{}' must be from 1 to 50000", input.priority)));
    }
    let conditions = input.conditions.into_iter().map(ConditionInput::read).collect::<Result<Vec<_>, _>>()?;
    if conditions.is_empty() {
        return Err(validation("A rule must have a condition"));
    }
    let rule = Rule {
        rule_arn: format!("{}/{}", listener.listener_arn.replacen(":listener/", ":listener-rule/", 1), random_id()),
        listener_arn: listener.listener_arn.clone(),
        priority: input.priority,
        conditions,
        action: actions::read(cloud, &listener.load_balancer_arn, input.actions)?,
        tags: input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
    };
    cloud.store().write(|tx| {
        let mut others = tx.all::<Rule>().into_iter().map(|(_, other)| other);
        if others.any(|other| other.listener_arn == rule.listener_arn && other.priority == rule.priority) {
            return Err(ApiError::new("PriorityInUse", format!("Priority '{}' is currently in use", rule.priority)));
        }
        tx.put(&rule.rule_arn, &rule);
        Ok(())
    })?;
    cloud.data_plane().apply(cloud);
    Ok(json!({"Rules": [description(&rule)]}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Modify {
    rule_arn: String,
    conditions: Option<Vec<ConditionInput>>,
    actions: Option<Vec<ActionInput>>,
}

pub(super) fn modify(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Modify = parse(input)?;
    if default_rule(cloud, &input.rule_arn).is_some() {
        return Err(ApiError::new("OperationNotPermitted", "Default rule cannot be modified; modify the listener"));
    }
    let rule: Rule = cloud.store().get(&input.rule_arn).ok_or_else(|| not_found(&input.rule_arn))?;
    let listener = listeners::get(cloud, &rule.listener_arn)?;
    let conditions = match input.conditions {
        Some(conditions) => Some(conditions.into_iter().map(ConditionInput::read).collect::<Result<Vec<_>, _>>()?),
        None => None,
    };
    let action = match input.actions {
        Some(actions) => Some(actions::read(cloud, &listener.load_balancer_arn, actions)?),
        None => None,
    };
    let changed = cloud.store().update::<Rule>(&input.rule_arn, |rule| {
        rule.conditions = conditions.unwrap_or(std::mem::take(&mut rule.conditions));
        if let Some(action) = action {
            rule.action = action;
        }
    });
    cloud.data_plane().apply(cloud);
    Ok(json!({"Rules": [description(&changed.ok_or_else(|| not_found(&input.rule_arn))?)]}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe {
    listener_arn: Option<String>,
    #[serde(default)]
    rule_arns: Vec<String>,
    marker: Option<String>,
    page_size: Option<usize>,
}

pub(super) fn describe(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let input: Describe = parse(input)?;
    let wanted = match &input.listener_arn {
        Some(arn) => {
            let listener = listeners::get(cloud, arn)?;
            let mut rules = cloud.store().find::<Rule>(|rule| rule.listener_arn == *arn);
            rules.sort_by_key(|rule| rule.priority);
            rules.iter().map(description).chain([default_description(&listener)]).collect()
        }
        None if input.rule_arns.is_empty() => {
            return Err(validation("You must specify either rule ARNs or a listener ARN"));
        }
        None => input
            .rule_arns
            .iter()
            .map(|arn| match cloud.store().get::<Rule>(arn) {
                Some(rule) => Ok(description(&rule)),
                None => default_rule(cloud, arn)
                    .map(|listener| default_description(&listener))
                    .ok_or_else(|| not_found(arn)),
            })
            .collect::<Result<Vec<_>, _>>()?,
    };
    page("Rules", wanted, input.page_size, input.marker.as_deref())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    rule_arn: String,
}

pub(super) fn delete(cloud: &Cloud, input: Value) -> Result<Value, ApiError> {
    let Delete { rule_arn } = parse(input)?;
    if default_rule(cloud, &rule_arn).is_some() {
        return Err(ApiError::new("OperationNotPermitted", "Default rule cannot be deleted"));
    }
    if !cloud.store().delete::<Rule>(&rule_arn) {
        return Err(not_found(&rule_arn));
    }
    cloud.data_plane().apply(cloud);
    Ok(json!({}))
}

fn not_found(arn: &str) -> ApiError {
    ApiError::new("RuleNotFound", format!("One or more rules not found: '{arn}'"))
}

fn default_arn(listener: &Listener) -> String {
    format!("{}/0000000000000000", listener.listener_arn.replacen(":listener/", ":listener-rule/", 1))
}

/// The listener whose default rule has this ARN.
fn default_rule(cloud: &Cloud, arn: &str) -> Option<Listener> {
    cloud.store().find::<Listener>(|listener| default_arn(listener) == arn).pop()
}

fn default_description(listener: &Listener) -> Value {
    json!({
        "RuleArn": default_arn(listener),
        "Priority": "default",
        "Conditions": [],
        "Actions": actions::describe(&listener.default_action),
        "IsDefault": true,
    })
}

fn description(rule: &Rule) -> Value {
    let conditions: Vec<Value> = rule
        .conditions
        .iter()
        .map(|condition| match condition {
            Condition::Path(values) => {
                json!({"Field": "path-pattern", "Values": values, "PathPatternConfig": {"Values": values}})
            }
            Condition::Host(values) => {
                json!({"Field": "host-header", "Values": values, "HostHeaderConfig": {"Values": values}})
            }
        })
        .collect();
    json!({
        "RuleArn": rule.rule_arn,
        "Priority": rule.priority.to_string(),
        "Conditions": conditions,
        "Actions": actions::describe(&rule.action),
        "IsDefault": false,
    })
}
