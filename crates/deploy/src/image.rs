//! Images in the registry: what it has, and the names that an image gets on its way.

use aws_sdk_ecr::types::{Image, ImageFailureCode, ImageIdentifier};
use environment::EnvironmentName;

use crate::call::failed;
use crate::context::Context;
use crate::error::{Error, Message};
use crate::live;

/// Calls an image what it is in an environment: `staging-<commit>`, `prod-<commit>`. The registry's lifecycle rules keep images
/// by these names, so an image has its name before the environment has the image. One that is called by no commit gets none.
pub(crate) async fn name_for(context: &Context, environment: EnvironmentName, digest: &str) -> Result<(), Error> {
    let Some(commit) = live::short_commit(context, digest).await? else { return Ok(()) };
    let tag = format!("{}-{commit}", environment.tag_prefix());
    let Some(image) = find(context, ImageIdentifier::builder().image_digest(digest).build()).await? else {
        return Ok(());
    };
    let put = context
        .clients
        .ecr
        .put_image()
        .repository_name(&context.project.image_repository)
        .image_manifest(image.image_manifest.unwrap_or_default())
        .set_image_manifest_media_type(image.image_manifest_media_type)
        .image_tag(&tag)
        .image_digest(digest)
        .send()
        .await
        .map_err(failed(format!("call the image {tag}")));
    match put {
        Ok(_) => {
            context.progress.line(&format!("the image is called {tag}"));
            Ok(())
        }
        Err(error) if error.aws_code() == Some("ImageAlreadyExistsException") => Ok(()),
        Err(error) if error.aws_code() == Some("ImageTagAlreadyExistsException") => {
            Err(conflict(context, &tag, digest).await?)
        }
        Err(error) => Err(error),
    }
}

/// A name that does not move, with what it names and what it should.
async fn conflict(context: &Context, tag: &str, digest: &str) -> Result<Error, Error> {
    let other = find(context, ImageIdentifier::builder().image_tag(tag).build()).await?;
    let other = other.and_then(|image| image.image_id?.image_digest).unwrap_or_else(|| "another image".to_owned());
    Ok(Error::Preflight(vec![Message::new(
        format!("the tag {tag} is another image's, and does not move"),
        format!("it names {other}, and should name {digest}"),
        "one commit gave two images: `cargo xtask build-image --verify-reproducible` shows why; a new commit has names of \
         its own",
    )]))
}

/// An image, if the registry has it.
pub(crate) async fn find(context: &Context, id: ImageIdentifier) -> Result<Option<Image>, Error> {
    let output = context
        .clients
        .ecr
        .batch_get_image()
        .repository_name(&context.project.image_repository)
        .image_ids(id)
        .accepted_media_types("application/vnd.oci.image.manifest.v1+json")
        .send()
        .await
        .map_err(failed("read the image's manifest"))?;
    if let Some(image) = output.images.unwrap_or_default().into_iter().next() {
        return Ok(Some(image));
    }
    match output.failures.unwrap_or_default().first().map(|failure| (failure.failure_code(), failure.failure_reason()))
    {
        None | Some((Some(ImageFailureCode::ImageNotFound), _)) => Ok(None),
        Some((_, reason)) => {
            Err(Error::unexpected("cannot read the image's manifest", reason.unwrap_or("no reason given"), ""))
        }
    }
}
