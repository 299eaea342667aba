//! First set-up: creates the stacks that are missing, in the order registry, data, network, service, observability, delivery.

use cloudformation::{Names, Stack, StackKind, templates};
use environment::EnvironmentName;
use serde::Serialize;

use crate::call::failed;
use crate::change_set::{self, Given};
use crate::context::Context;
use crate::error::{Error, Message};
use crate::{image, signature};

/// The document of `bootstrap`.
#[derive(Debug, Serialize)]
pub(crate) struct Registry {
    pub(crate) schema: u32,
    pub(crate) repository_uri: String,
    /// True if services are missing and the registry has no image of this commit yet.
    pub(crate) first_image_needed: bool,
    pub(crate) commit: String,
    /// Stacks that `deploy` will create.
    pub(crate) missing: Vec<String>,
}

/// Makes sure that the registry exists, and says whether a first image is needed.
pub(crate) async fn registry(context: &Context, commit: &str) -> Result<Registry, Error> {
    let stacks = templates(&context.project, &context.environment)?;
    for stack in stacks.iter().filter(|stack| stack.kind == StackKind::Registry) {
        create_if_missing(context, stack, None).await?;
    }
    let missing = missing(context).await?;
    let service_missing = missing.iter().any(|stack| stack.kind == StackKind::Service);
    Ok(Registry {
        schema: 1,
        repository_uri: repository_uri(context).await?,
        first_image_needed: service_missing && image_of_commit(context, commit).await?.is_none(),
        commit: commit.to_owned(),
        missing: missing.into_iter().map(|stack| stack.name).collect(),
    })
}

/// The stacks of all environments that do not exist, in the order of their creation.
pub(crate) async fn missing(context: &Context) -> Result<Vec<Stack>, Error> {
    let mut all: Vec<Stack> = Vec::new();
    for environment in context.environments()? {
        for stack in templates(&context.project, &environment)? {
            // Registry and delivery are shared.
            if !all.iter().any(|other| other.name == stack.name) {
                all.push(stack);
            }
        }
    }
    all.sort_by_key(|stack| stack.kind);
    let mut missing = Vec::new();
    for stack in all {
        if change_set::stack(context, &stack.name).await?.is_none() {
            missing.push(stack);
        }
    }
    Ok(missing)
}

/// Creates all missing stacks. Returns whether the delivery stack was among them: its creation starts the pipeline.
pub(crate) async fn create_missing(context: &Context, image: Option<&str>, commit: &str) -> Result<bool, Error> {
    let missing = missing(context).await?;
    let needs_image = missing.iter().any(|stack| stack.kind == StackKind::Service);
    let image = match (image, needs_image) {
        (Some(image), true) => Some(image.to_owned()),
        (None, true) => Some(image_of_commit(context, commit).await?.ok_or_else(|| no_image(commit))?),
        (_, false) => None,
    };
    if let Some(image) = &image {
        let digest = image.rsplit_once('@').map(|(_, digest)| digest);
        signed(context, digest).await?;
        named(context, &missing, digest).await?;
    }
    for stack in &missing {
        create_if_missing(context, stack, image.as_deref()).await?;
    }
    Ok(missing.iter().any(|stack| stack.kind == StackKind::Delivery))
}

/// The first image goes to every environment, so it must be signed as each of them demands.
async fn signed(context: &Context, digest: Option<&str>) -> Result<(), Error> {
    let mut findings = Vec::new();
    for environment in context.environments()? {
        findings.extend(signature::check(context, &environment, digest).await?);
    }
    if findings.is_empty() { Ok(()) } else { Err(Error::Preflight(findings)) }
}

/// It is called by the names of the environments that get it.
async fn named(context: &Context, missing: &[Stack], digest: Option<&str>) -> Result<(), Error> {
    let Some(digest) = digest else { return Ok(()) };
    for environment in EnvironmentName::ALL {
        if missing.iter().any(|stack| stack.name == service_stack(context, environment)) {
            image::name_for(context, environment, digest).await?;
        }
    }
    Ok(())
}

fn no_image(commit: &str) -> Error {
    Error::Preflight(vec![Message::new(
        "the services do not exist yet and there is no image to create them with",
        format!("the registry has no image of commit {commit}"),
        "use `cargo xtask deploy staging`, which builds the first image; or `cargo xtask build-image --push` and repeat",
    )])
}

async fn create_if_missing(context: &Context, stack: &Stack, image: Option<&str>) -> Result<(), Error> {
    if change_set::stack(context, &stack.name).await?.is_some() {
        return Ok(());
    }
    context.progress.line(&format!("creating stack {}", stack.name));
    let parameters: Vec<_> = stack
        .parameters
        .iter()
        .filter_map(|parameter| match (parameter.name.as_str(), image) {
            ("ImageUri", Some(image)) => Some(("ImageUri".to_owned(), Given::Value(image.to_owned()))),
            (_, _) => parameter.default.clone().map(|value| (parameter.name.clone(), Given::Value(value))),
        })
        .collect();
    let set = change_set::create(context, stack, false, &parameters).await?;
    let set = set.ok_or_else(|| {
        Error::unexpected(format!("stack {} has nothing to create", stack.name), "its change set is empty", "")
    })?;
    change_set::execute(context, &set).await
}

async fn repository_uri(context: &Context) -> Result<String, Error> {
    let name = &context.project.image_repository;
    let output = context
        .clients
        .ecr
        .describe_repositories()
        .repository_names(name)
        .send()
        .await
        .map_err(failed(format!("read image repository {name}")))?;
    let repository = output.repositories.unwrap_or_default().into_iter().next();
    repository.and_then(|repository| repository.repository_uri).ok_or_else(|| {
        Error::unexpected(format!("image repository {name} has no address"), "AWS answered without it", "")
    })
}

/// The image of a commit, by digest, if the registry has it.
pub(crate) async fn image_of_commit(context: &Context, commit: &str) -> Result<Option<String>, Error> {
    let mut next = None;
    loop {
        let output = context
            .clients
            .ecr
            .describe_images()
            .repository_name(&context.project.image_repository)
            .set_next_token(next)
            .send()
            .await
            .map_err(failed("list the images"))?;
        for image in output.image_details.unwrap_or_default() {
            let tags = image.image_tags.unwrap_or_default();
            if let Some(digest) = image.image_digest
                && tags.iter().any(|tag| is_tag_of(tag, commit))
            {
                return Ok(Some(format!("{}@{digest}", repository_uri(context).await?)));
            }
        }
        next = output.next_token;
        if next.is_none() {
            return Ok(None);
        }
    }
}

/// True for the tag that names exactly this commit: its abbreviated id.
fn is_tag_of(tag: &str, commit: &str) -> bool {
    tag.len() >= 7 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()) && commit.starts_with(tag)
}

/// All stacks that must exist before the pipeline can run, for messages.
pub(crate) fn service_stacks(context: &Context) -> Vec<String> {
    EnvironmentName::ALL.into_iter().map(|name| service_stack(context, name)).collect()
}

fn service_stack(context: &Context, environment: EnvironmentName) -> String {
    Names::new(&context.project, environment).service_stack()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_abbreviated_id_names_a_commit() {
        let commit = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567";
        assert!(super::is_tag_of("0a1b2c3", commit));
        assert!(!super::is_tag_of("staging-0a1b2c3", commit));
        assert!(!super::is_tag_of("0a1b2c4", commit));
        assert!(!super::is_tag_of("0a1b", commit));
    }
}
