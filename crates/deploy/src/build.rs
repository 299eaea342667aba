//! A CodeBuild build: its phases while it runs, its first error when it failed.

use aws_sdk_codebuild::types::{Build, StatusType};

use crate::call::failed;
use crate::context::Context;
use crate::error::Error;
use crate::tasks;

/// Reads a build.
pub(crate) async fn read(context: &Context, id: &str) -> Result<Option<Build>, Error> {
    let output = context
        .clients
        .codebuild
        .batch_get_builds()
        .ids(id)
        .send()
        .await
        .map_err(failed(format!("read build {id}")))?;
    Ok(output.builds.unwrap_or_default().into_iter().next())
}

/// What a running build does now.
pub(crate) fn stand(build: &Build) -> String {
    let phase = build.current_phase.clone().unwrap_or_else(|| "queued".to_owned());
    match &build.build_status {
        Some(StatusType::InProgress) | None => phase,
        Some(status) => format!("{} at {phase}", status.as_str()),
    }
}

/// Why a build failed: its first failed phase and the last lines of its log.
pub(crate) async fn cause(context: &Context, id: &str) -> Option<String> {
    let build = read(context, id).await.ok()??;
    let mut text = first_failed_phase(&build).unwrap_or_else(|| stand(&build));
    if let Some(logs) = &build.logs
        && let (Some(group), Some(stream)) = (&logs.group_name, &logs.stream_name)
    {
        let lines = tasks::lines(context, group, stream, 25).await;
        if !lines.is_empty() {
            text.push_str(&format!("\nlast log lines of the build:\n  {}", lines.join("\n  ")));
        }
    }
    Some(format!("build {id}: {text}"))
}

fn first_failed_phase(build: &Build) -> Option<String> {
    let phases = build.phases.as_deref().unwrap_or_default();
    let phase = phases
        .iter()
        .find(|phase| !matches!(phase.phase_status, None | Some(StatusType::Succeeded | StatusType::InProgress)))?;
    let name = phase.phase_type.as_ref().map_or("a phase", |phase| phase.as_str());
    let contexts = phase.contexts.as_deref().unwrap_or_default();
    let message = contexts.iter().find_map(|context| context.message.clone()).unwrap_or_default();
    Some(format!("{name} failed: {message}"))
}
