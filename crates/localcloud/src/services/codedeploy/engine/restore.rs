//! Back to blue, and the removal of task sets.

use serde_json::{Value, json};

use super::{Color, change, ecs, traffic};
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::codedeploy::records::{Creator, Deployment, EventStatus, Failure, Lifecycle, Phase, Verdict};

/// Steps that a rollback may fail before it gives up; they follow one another within seconds.
const ATTEMPTS: u32 = 50;

/// Takes everything back to blue: traffic first. Every part is repeatable.
pub(super) async fn step(cloud: &Cloud, deployment: &Deployment, attempts: u32) {
    let result = back_to_blue(cloud, deployment).await;
    let now = cloud.clock().now();
    match result {
        Ok(()) => change(cloud, deployment, |it| {
            it.end(Lifecycle::AllowTraffic, EventStatus::Succeeded, now);
            it.notice = None;
            it.completed = Some(now);
            it.phase = Phase::Ended(Verdict::Succeeded);
        }),
        Err(failure) if attempts + 1 < ATTEMPTS => {
            tracing::warn!(
                deployment = deployment.id,
                message = failure.message,
                "a rollback's step failed and is tried again"
            );
            change(cloud, deployment, |it| {
                it.notice = Some(failure.message);
                it.phase = Phase::Restore { attempts: attempts + 1 };
            });
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        Err(failure) => change(cloud, deployment, |it| {
            it.abandon_events(&failure, now);
            it.error = Some(failure);
            it.completed = Some(now);
            it.phase = Phase::Ended(Verdict::Failed);
        }),
    }
}

async fn back_to_blue(cloud: &Cloud, deployment: &Deployment) -> Result<(), Failure> {
    let error = |what: &'static str| move |error| super::failure("ECS_UPDATE_ERROR", what, &error);
    traffic::production(cloud, deployment, 0).await?;
    for id in
        [Some(&deployment.id), deployment.rollback.rollback_triggering_deployment_id.as_ref()].into_iter().flatten()
    {
        cloud.store().update::<Deployment>(id, |it| it.green_weight = 0);
    }
    traffic::test(cloud, deployment, Color::Blue).await?;
    make_primary(cloud, deployment, Color::Blue)
        .await
        .map_err(error("The original task set cannot be made primary"))?;
    delete(cloud, deployment, Color::Green).await.map_err(error("The new task set cannot be deleted"))
}

/// Removes green, which has no production traffic, and gives test traffic back.
pub(super) async fn clean_up(cloud: &Cloud, deployment: &Deployment, verdict: Verdict) {
    if let Err(failure) = traffic::test(cloud, deployment, Color::Blue).await {
        tracing::warn!(deployment = deployment.id, message = failure.message, "test traffic stays where it is");
    }
    if let Err(error) = delete(cloud, deployment, Color::Green).await {
        tracing::warn!(deployment = deployment.id, %error, "the new task set stays; the next deployment removes it");
    }
    let now = cloud.clock().now();
    change(cloud, deployment, |it| {
        it.completed = Some(now);
        it.phase = Phase::Ended(verdict);
    });
}

/// The service's task sets that are not being removed.
pub(super) async fn task_sets(cloud: &Cloud, deployment: &Deployment) -> Result<Vec<Value>, ApiError> {
    let settings = &deployment.settings;
    let input = json!({"cluster": settings.cluster, "service": settings.service});
    let answer = ecs(cloud, "DescribeTaskSets", input).await?;
    let sets = answer["taskSets"].as_array().into_iter().flatten();
    Ok(sets.filter(|set| set["status"] != "DRAINING").cloned().collect())
}

/// The task set of a side: as recorded, or, for green, as created just before a kill kept it from being recorded.
fn of_side<'a>(deployment: &Deployment, sets: &'a [Value], color: Color) -> Option<&'a Value> {
    let sides = deployment.sides.as_ref()?;
    let recorded = match color {
        Color::Blue => &sides.blue.task_set,
        Color::Green => &sides.green.task_set,
    };
    if let Some(id) = recorded {
        return sets.iter().find(|set| set["id"] == **id);
    }
    let creator = match deployment.creator {
        Creator::User => Some(&deployment.id),
        Creator::Rollback => deployment.rollback.rollback_triggering_deployment_id.as_ref(),
    }?;
    sets.iter().find(|set| color == Color::Green && set["externalId"] == **creator)
}

/// Makes a side's task set the service's primary one.
pub(super) async fn make_primary(cloud: &Cloud, deployment: &Deployment, color: Color) -> Result<(), ApiError> {
    let sets = task_sets(cloud, deployment).await?;
    let set = of_side(deployment, &sets, color)
        .ok_or_else(|| ApiError::new("TaskSetNotFoundException", "The task set does not exist any more"))?;
    if set["status"] == "PRIMARY" {
        return Ok(());
    }
    set_primary(cloud, deployment, set).await
}

async fn set_primary(cloud: &Cloud, deployment: &Deployment, set: &Value) -> Result<(), ApiError> {
    let settings = &deployment.settings;
    let input = json!({"cluster": settings.cluster, "service": settings.service, "primaryTaskSet": set["id"]});
    ecs(cloud, "UpdateServicePrimaryTaskSet", input).await.map(drop)
}

/// Deletes a side's task set; one that is gone already is fine.
pub(super) async fn delete(cloud: &Cloud, deployment: &Deployment, color: Color) -> Result<(), ApiError> {
    let sets = task_sets(cloud, deployment).await?;
    match of_side(deployment, &sets, color) {
        Some(set) => delete_set(cloud, deployment, set).await,
        None => Ok(()),
    }
}

async fn delete_set(cloud: &Cloud, deployment: &Deployment, set: &Value) -> Result<(), ApiError> {
    let settings = &deployment.settings;
    let input = json!({"cluster": settings.cluster, "service": settings.service, "taskSet": set["id"], "force": true});
    ecs(cloud, "DeleteTaskSet", input).await.map(drop)
}

/// Deletes task sets that neither serve production nor belong to this deployment: an earlier deployment that was
/// stopped without a rollback left them. Blue has all production traffic when this is called.
pub(super) async fn remove_leftovers(cloud: &Cloud, deployment: &Deployment) -> Result<(), ApiError> {
    make_primary(cloud, deployment, Color::Blue).await?;
    let sets = task_sets(cloud, deployment).await?;
    let blue = of_side(deployment, &sets, Color::Blue);
    for set in &sets {
        if Some(set) != blue && set["externalId"] != deployment.id {
            delete_set(cloud, deployment, set).await?;
        }
    }
    Ok(())
}
