//! `status`: what serves where, and what waits.

use serde_json::{Value, json};

use crate::codedeploy;
use crate::context::Context;
use crate::error::Error;
use crate::{live, pipeline};

/// The document of one environment.
pub(crate) async fn read(context: &Context) -> Result<Value, Error> {
    let environment = context.environment.name.as_str();
    let Some(live) = live::read(context).await? else {
        return Ok(json!({
            "schema": 1, "environment": environment, "exists": false, "url": null, "commit": null, "digest": null,
            "tasks": null, "traffic": [], "health": [], "approval": null, "deployment": null,
        }));
    };
    let digest = live.digest();
    let commit = match &digest {
        Some(digest) => live::commit(context, digest, live.url.as_deref()).await?,
        None => None,
    };
    let mut health = Vec::new();
    for weight in &live.weights {
        health.extend(live::targets(context, &weight.arn).await?);
    }
    Ok(json!({
        "schema": 1,
        "environment": environment,
        "exists": true,
        "url": live.url,
        "commit": commit,
        "digest": digest,
        "task_definition": live.task_definition,
        "tasks": {"desired": live.desired, "running": live.running, "pending": live.pending},
        "traffic": live.weights,
        "health": health,
        "approval": approval(context).await?,
        "deployment": open_deployment(context).await?,
    }))
}

async fn approval(context: &Context) -> Result<Value, Error> {
    let approval = match pipeline::approval(context).await {
        Err(error) if error.aws_code() == Some("PipelineNotFoundException") => return Ok(Value::Null),
        other => other?,
    };
    match (approval.execution, approval.token) {
        // The token itself is the right to approve: it is not shown.
        (Some(execution), Some(_)) => {
            let (_, commit, _) = pipeline::execution(context, &execution).await?;
            Ok(json!({"execution": execution, "commit": commit}))
        }
        _ => Ok(Value::Null),
    }
}

async fn open_deployment(context: &Context) -> Result<Value, Error> {
    let recent = match codedeploy::recent(context, 3).await {
        Err(error) if error.aws_code().is_some_and(|code| code.ends_with("DoesNotExistException")) => {
            return Ok(Value::Null);
        }
        other => other?,
    };
    Ok(recent.into_iter().find(codedeploy::Deployment::is_open).map_or(Value::Null, |open| {
        let event = open.events.iter().rev().find(|event| event.status.as_str() != "Pending");
        json!({
            "id": open.id,
            "status": open.status.as_str(),
            "event": event.map(|event| event.name.clone()),
            "traffic_shifted": open.standing() == codedeploy::Standing::Shifted,
        })
    }))
}

/// A few lines for people.
pub(crate) fn summary(document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let name = text(&document["environment"]);
    if document["exists"] == false {
        return format!("{name}\n  does not exist yet: `cargo xtask deploy staging` creates it\n");
    }
    let list = |value: &Value, line: &dyn Fn(&Value) -> String| {
        let lines: Vec<_> = value.as_array().into_iter().flatten().map(line).collect();
        if lines.is_empty() { "none".to_owned() } else { lines.join(", ") }
    };
    let traffic =
        list(&document["traffic"], &|weight| format!("{} {}%", text(&weight["target_group"]), weight["percent"]));
    let health = list(&document["health"], &|target| {
        let reason = target["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{} {}{reason}", text(&target["target"]), text(&target["state"]))
    });
    let tasks = &document["tasks"];
    let mut lines = vec![
        ("url", text(&document["url"])),
        ("commit", text(&document["commit"])),
        ("digest", text(&document["digest"])),
        ("tasks", format!("{} desired, {} running, {} pending", tasks["desired"], tasks["running"], tasks["pending"])),
        ("traffic", traffic),
        ("health", health),
    ];
    if document["approval"].is_object() {
        let commit = text(&document["approval"]["commit"]);
        lines.push(("approval", format!("{commit} waits: `cargo xtask promote production`")));
    }
    if document["deployment"].is_object() {
        let deployment = &document["deployment"];
        lines.push((
            "deploying",
            format!("{} {} {}", text(&deployment["id"]), text(&deployment["status"]), text(&deployment["event"])),
        ));
    }
    let lines: String = lines.iter().map(|(name, value)| format!("  {name:<10} {value}\n")).collect();
    format!("{name}\n{lines}")
}
