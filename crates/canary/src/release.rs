//! Which commit a deployment brings: by the digest of the image that it deploys, whose tag in the registry is the commit.

use aws_sdk_codedeploy::types::RevisionLocation;
use aws_sdk_ecr::types::{ImageDetail, ImageIdentifier};
use aws_sdk_ecs::types::{ServiceRevision, TaskDefinition};

use crate::aws::{Aws, failed};
use crate::call::Call;

/// Length of a commit's short name; images are tagged with it.
const SHORT: usize = 7;

impl Aws {
    /// The first seven digits of the commit that the new version was built from.
    pub(crate) async fn commit(&self, call: &Call) -> Result<String, String> {
        let image = match call {
            Call::CodeDeploy { deployment, .. } => self.image_of_deployment(deployment).await?,
            Call::Ecs { revision, .. } => self.image_of_revision(revision).await?,
        };
        self.commit_of_image(&image).await
    }

    async fn image_of_deployment(&self, deployment: &str) -> Result<String, String> {
        let answer = self.codedeploy.get_deployment().deployment_id(deployment).send().await;
        let answer = answer.map_err(|error| failed("codedeploy:GetDeployment", error))?;
        let revision = answer.deployment_info().and_then(|info| info.revision());
        let definition = revision
            .and_then(task_definition)
            .ok_or_else(|| format!("deployment {deployment} names no task definition"))?;
        let answer = self.ecs.describe_task_definition().task_definition(&definition).send().await;
        let answer = answer.map_err(|error| failed("ecs:DescribeTaskDefinition", error))?;
        let containers = answer.task_definition().map(TaskDefinition::container_definitions);
        let image = containers.and_then(<[_]>::first).and_then(|container| container.image());
        image.map(str::to_owned).ok_or_else(|| format!("{definition} has no container"))
    }

    async fn image_of_revision(&self, revision: &str) -> Result<String, String> {
        let answer = self.ecs.describe_service_revisions().service_revision_arns(revision).send().await;
        let answer = answer.map_err(|error| failed("ecs:DescribeServiceRevisions", error))?;
        let images = answer.service_revisions().first().map(ServiceRevision::container_images);
        let image = images.and_then(<[_]>::first).ok_or_else(|| format!("{revision} has no container"))?;
        // ECS resolves a tag to its digest once, when the revision is made.
        let name = image.image().unwrap_or_default();
        match (name.contains('@'), image.image_digest()) {
            (false, Some(digest)) => Ok(format!("{name}@{digest}")),
            _ => Ok(name.to_owned()),
        }
    }

    async fn commit_of_image(&self, image: &str) -> Result<String, String> {
        let Some((repository, digest)) = image.split_once('@') else {
            return Err(format!("the image `{image}` is named by no digest, so nothing says which commit it is"));
        };
        let (registry, name) = repository.split_once('/').unwrap_or(("", repository));
        // A tag may stand between name and digest.
        let name = name.split(':').next().unwrap_or(name);
        let account = registry.split('.').next().filter(|account| account.len() == 12);
        let account = account.filter(|account| account.bytes().all(|digit| digit.is_ascii_digit()));
        let answer = self
            .ecr
            .describe_images()
            .set_registry_id(account.map(str::to_owned))
            .repository_name(name)
            .image_ids(ImageIdentifier::builder().image_digest(digest).build())
            .send()
            .await;
        let answer = answer.map_err(|error| failed("ecr:DescribeImages", error))?;
        let tags = answer.image_details().iter().flat_map(ImageDetail::image_tags);
        let commit = tags.map(String::as_str).find(|tag| is_commit(tag));
        commit.map(str::to_owned).ok_or_else(|| format!("no tag of {name}@{digest} is a commit"))
    }
}

fn is_commit(tag: &str) -> bool {
    tag.len() == SHORT && tag.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The ARN of the task definition in an appspec, JSON or YAML: in both it is a single token.
fn task_definition(revision: &RevisionLocation) -> Option<String> {
    // CodeDeploy may still answer in the older shape.
    let older = revision.string().and_then(|raw| raw.content());
    let content = revision.app_spec_content().and_then(|content| content.content()).or(older)?;
    let tokens = content.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '{' | '}'));
    tokens
        .filter(|token| token.starts_with("arn:"))
        .find(|token| token.contains(":task-definition/"))
        .map(str::to_owned)
}
