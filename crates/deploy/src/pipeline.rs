//! The pipeline: executions, their actions, the approval.

use aws_sdk_codepipeline::types::{
    ActionExecutionDetail, ActionExecutionFilter, ActionExecutionStatus, ApprovalResult, ApprovalStatus,
    PipelineExecutionStatus, PipelineExecutionSummary, SourceRevisionOverride, SourceRevisionType,
};
use aws_sdk_sts::primitives::DateTime;

use crate::call::{Pace, failed};
use crate::codedeploy::seconds_between;
use crate::context::Context;
use crate::error::Error;
use crate::report::Phase;

/// Names of the stages and actions that our delivery stack creates.
pub(crate) const SOURCE_ACTION: &str = "Source";
pub(crate) const STAGING_STAGE: &str = "DeployToStaging";
pub(crate) const APPROVAL_STAGE: &str = "Approval";
pub(crate) const PRODUCTION_STAGE: &str = "DeployToProduction";

/// An action of one execution.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) stage: String,
    pub(crate) name: String,
    pub(crate) provider: String,
    pub(crate) status: ActionExecutionStatus,
    pub(crate) external: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) started: Option<DateTime>,
    pub(crate) updated: Option<DateTime>,
}

impl Action {
    /// As a phase.
    pub(crate) fn phase(&self) -> Phase {
        Phase {
            name: format!("{}/{}", self.stage, self.name),
            status: self.status.as_str().to_owned(),
            seconds: seconds_between(self.started.as_ref(), self.updated.as_ref()),
        }
    }
}

impl From<ActionExecutionDetail> for Action {
    fn from(detail: ActionExecutionDetail) -> Self {
        let result = detail.output.and_then(|output| output.execution_result);
        let text = |value: Option<String>| value.filter(|text| !text.is_empty());
        let (external, error) = match result {
            Some(result) => {
                let details = result.error_details.and_then(|error| {
                    let parts: Vec<_> = [text(error.message), text(error.code)].into_iter().flatten().collect();
                    (!parts.is_empty()).then(|| parts.join(" – "))
                });
                (text(result.external_execution_id), details.or_else(|| text(result.external_execution_summary)))
            }
            None => (None, None),
        };
        Action {
            stage: detail.stage_name.unwrap_or_default(),
            name: detail.action_name.unwrap_or_default(),
            provider: detail.input.and_then(|input| input.action_type_id).map(|kind| kind.provider).unwrap_or_default(),
            status: detail.status.unwrap_or(ActionExecutionStatus::InProgress),
            external,
            error,
            started: detail.start_time,
            updated: detail.last_update_time,
        }
    }
}

/// The newest executions.
pub(crate) async fn executions(context: &Context) -> Result<Vec<PipelineExecutionSummary>, Error> {
    let name = context.project.pipeline_name();
    let output = context
        .clients
        .pipeline
        .list_pipeline_executions()
        .pipeline_name(name)
        .max_results(50)
        .send()
        .await
        .map_err(failed(format!("list the executions of pipeline {name}")))?;
    Ok(output.pipeline_execution_summaries.unwrap_or_default())
}

/// The commit of an execution, once its source has been read.
pub(crate) fn commit_of(execution: &PipelineExecutionSummary) -> Option<&str> {
    execution.source_revisions.as_deref().unwrap_or_default().iter().find_map(|source| source.revision_id.as_deref())
}

/// How an execution of a commit is used by `deploy`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It runs: follow it.
    Join(String),
    /// It went all the way to production already.
    Done(String),
    /// One runs whose commit is not known yet.
    Undecided,
    /// None of this commit, or only failed ones.
    None,
}

/// Which execution of a commit to follow. The list is newest first, as AWS gives it.
pub(crate) fn choose(executions: &[PipelineExecutionSummary], commit: &str) -> Choice {
    let mut undecided = false;
    for execution in executions {
        let id = execution.pipeline_execution_id.clone().unwrap_or_default();
        let running = execution.status == Some(PipelineExecutionStatus::InProgress);
        match commit_of(execution) {
            Some(of) if of == commit && running => return Choice::Join(id),
            Some(of) if of == commit && execution.status == Some(PipelineExecutionStatus::Succeeded) => {
                return Choice::Done(id);
            }
            // The newest execution of this commit failed: an older one does not matter.
            Some(of) if of == commit => break,
            None if running => undecided = true,
            _ => {}
        }
    }
    if undecided { Choice::Undecided } else { Choice::None }
}

/// Finds an execution of the commit, waiting up to `patience` for one that a push or the pipeline's creation starts.
pub(crate) async fn find(context: &Context, commit: &str, patience: std::time::Duration) -> Result<Choice, Error> {
    let start = std::time::Instant::now();
    let mut pace = Pace::new();
    loop {
        let choice = choose(&executions(context).await?, commit);
        let waiting = matches!(choice, Choice::Undecided) && start.elapsed() < std::time::Duration::from_secs(30);
        if !waiting && (choice != Choice::None || start.elapsed() >= patience) {
            return Ok(choice);
        }
        pace.next().await;
    }
}

/// Starts an execution of exactly this commit.
pub(crate) async fn start(context: &Context, commit: &str) -> Result<String, Error> {
    let source = SourceRevisionOverride::builder()
        .action_name(SOURCE_ACTION)
        .revision_type(SourceRevisionType::CommitId)
        .revision_value(commit)
        .build()
        .map_err(|error| Error::unexpected("cannot start the pipeline", error.to_string(), ""))?;
    let output = context
        .clients
        .pipeline
        .start_pipeline_execution()
        .name(context.project.pipeline_name())
        .source_revisions(source)
        .send()
        .await
        .map_err(failed("start the pipeline"))?;
    output
        .pipeline_execution_id
        .ok_or_else(|| Error::unexpected("the pipeline started without an id", "AWS answered without it", ""))
}

/// Status and commit of an execution.
pub(crate) async fn execution(
    context: &Context,
    id: &str,
) -> Result<(PipelineExecutionStatus, Option<String>, Option<String>), Error> {
    let output = context
        .clients
        .pipeline
        .get_pipeline_execution()
        .pipeline_name(context.project.pipeline_name())
        .pipeline_execution_id(id)
        .send()
        .await
        .map_err(failed(format!("read execution {id}")))?;
    let Some(execution) = output.pipeline_execution else {
        return Err(Error::unexpected(format!("execution {id} is empty"), "AWS answered without it", ""));
    };
    let commit = execution.artifact_revisions.unwrap_or_default().into_iter().find_map(|artifact| artifact.revision_id);
    let status = execution.status.unwrap_or(PipelineExecutionStatus::InProgress);
    Ok((status, commit, execution.status_summary.filter(|text| !text.is_empty())))
}

/// The actions of an execution in the order in which they began; of a retried one the newest try.
pub(crate) async fn actions(context: &Context, id: &str) -> Result<Vec<Action>, Error> {
    let output = context
        .clients
        .pipeline
        .list_action_executions()
        .pipeline_name(context.project.pipeline_name())
        .filter(ActionExecutionFilter::builder().pipeline_execution_id(id).build())
        .send()
        .await
        .map_err(failed(format!("read the actions of execution {id}")))?;
    let mut all: Vec<Action> =
        output.action_execution_details.unwrap_or_default().into_iter().map(Action::from).collect();
    let began = |action: &Action| action.started.as_ref().map_or(f64::MAX, DateTime::as_secs_f64);
    all.sort_by(|a, b| began(a).total_cmp(&began(b)));
    let mut newest: Vec<Action> = Vec::new();
    for action in all {
        newest.retain(|other| (&other.stage, &other.name) != (&action.stage, &action.name));
        newest.push(action);
    }
    Ok(newest)
}

/// The approval as the pipeline shows it now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Approval {
    /// The execution that is in the stage.
    pub(crate) execution: Option<String>,
    /// The execution that waits for the stage.
    pub(crate) inbound: Option<String>,
    /// Name of the action.
    pub(crate) action: String,
    /// Present while the action waits.
    pub(crate) token: Option<String>,
    /// The stage after it, if it is taken: the execution in it.
    pub(crate) production: Option<String>,
}

/// Reads the approval stage.
pub(crate) async fn approval(context: &Context) -> Result<Approval, Error> {
    let name = context.project.pipeline_name();
    let output = context
        .clients
        .pipeline
        .get_pipeline_state()
        .name(name)
        .send()
        .await
        .map_err(failed(format!("read the state of pipeline {name}")))?;
    let mut approval = Approval::default();
    for stage in output.stage_states.unwrap_or_default() {
        let latest = stage.latest_execution;
        match stage.stage_name.as_deref() {
            Some(APPROVAL_STAGE) => {
                approval.execution = latest.map(|latest| latest.pipeline_execution_id);
                approval.inbound = stage.inbound_execution.map(|inbound| inbound.pipeline_execution_id);
                for action in stage.action_states.unwrap_or_default() {
                    let waits = action
                        .latest_execution
                        .filter(|latest| latest.status == Some(ActionExecutionStatus::InProgress));
                    if let Some(token) = waits.and_then(|latest| latest.token) {
                        approval.action = action.action_name.unwrap_or_default();
                        approval.token = Some(token);
                    }
                }
            }
            Some(PRODUCTION_STAGE) => {
                approval.production = latest
                    .filter(|latest| latest.status.as_str() == "InProgress")
                    .map(|latest| latest.pipeline_execution_id);
            }
            _ => {}
        }
    }
    Ok(approval)
}

/// Answers the approval.
pub(crate) async fn answer(
    context: &Context,
    approval: &Approval,
    status: ApprovalStatus,
    summary: &str,
) -> Result<(), Error> {
    let result = ApprovalResult::builder()
        .status(status)
        .summary(summary)
        .build()
        .map_err(|error| Error::unexpected("cannot answer the approval", error.to_string(), ""))?;
    context
        .clients
        .pipeline
        .put_approval_result()
        .pipeline_name(context.project.pipeline_name())
        .stage_name(APPROVAL_STAGE)
        .action_name(&approval.action)
        .set_token(approval.token.clone())
        .result(result)
        .send()
        .await
        .map_err(failed("answer the approval"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_codepipeline::types::SourceRevision;

    fn execution(id: &str, status: PipelineExecutionStatus, commit: Option<&str>) -> PipelineExecutionSummary {
        let source = commit.map(|c| SourceRevision::builder().action_name("Source").revision_id(c).build().unwrap());
        PipelineExecutionSummary::builder()
            .pipeline_execution_id(id)
            .status(status)
            .set_source_revisions(source.map(|source| vec![source]))
            .build()
    }

    #[test]
    fn a_running_execution_of_the_commit_is_joined() {
        use PipelineExecutionStatus::{Failed, InProgress, Succeeded};
        let running = [execution("1", InProgress, Some("a")), execution("0", Failed, Some("a"))];
        assert_eq!(choose(&running, "a"), Choice::Join("1".into()));
        assert_eq!(choose(&running, "b"), Choice::None);
        let failed = [execution("2", Failed, Some("a")), execution("1", Succeeded, Some("a"))];
        assert_eq!(choose(&failed, "a"), Choice::None);
        assert_eq!(choose(&failed[1..], "a"), Choice::Done("1".into()));
        assert_eq!(choose(&[execution("3", InProgress, None)], "a"), Choice::Undecided);
    }
}
