//! The image repository, shared by the environments.

use environment::{Encryption, EnvironmentName, Project};
use serde_json::{Value as Json, json};

use crate::documents::lifecycle::LifecycleDocument;
use crate::keys;
use crate::names::Names;
use crate::resources::ecr::Repository;
use crate::resources::ecr::repository::{
    EncryptionConfiguration, EncryptionType, ImageScanningConfiguration, ImageTagMutabilityExclusionFilter,
    ImageTagMutabilityExclusionFilterType, LifecyclePolicy, RepositoryImageTagMutability,
};
use crate::stack::tags;
use crate::template::{Resource, Rule, Template};
use crate::value::Intrinsic;

/// The tags of signatures and attestations, in the format of cosign: `sha256-<hex>.sig` and `sha256-<hex>.att`.
const ATTACHED: &str = "sha256-*";
const ATTACHED_TO_ONE: u32 = 2;

/// What pulling an image takes.
pub(crate) const PULL: [&str; 3] =
    ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"];

/// The key that encrypts what the environments share, if it is ours.
pub(crate) fn shared_key(project: &Project, encryption: Encryption) -> Option<Intrinsic> {
    (encryption == Encryption::CustomerManaged).then(|| Intrinsic::ImportValue(export(project)))
}

fn export(project: &Project) -> String {
    format!("{}-Key", Names::new(project, EnvironmentName::Staging).registry_stack())
}

pub(crate) fn template(project: &Project, encryption: Encryption) -> Json {
    let mut template = Template::new(format!("{}: the image repository", project.name), tags(project, None));
    let accounts = project.registry.pull_accounts.join(",");
    let accounts = template.parameter(
        "PullAccounts",
        "CommaDelimitedList",
        "Other accounts that may pull images",
        Some(&accounts),
    );
    let is_shared = template.when_listed("HasPullAccounts", &accounts);
    let key = (encryption == Encryption::CustomerManaged).then(|| {
        let description = format!("Images and artifacts of {}", project.name);
        let key = keys::add(&mut template, "Key", &project.name, description);
        template.export("Key", "The key of images and artifacts", &key.arn(), &export(project));
        key
    });
    let repository = Repository {
        repository_name: Some(project.image_repository.as_str().into()),
        encryption_configuration: key.map(|key| EncryptionConfiguration {
            kms_key: Some(key.arn().into()),
            ..EncryptionConfiguration::new(EncryptionType::Kms)
        }),
        // A second signature of an image moves the tag of the first: a list of both is there then.
        image_tag_mutability: Some(RepositoryImageTagMutability::ImmutableWithExclusion.into()),
        image_tag_mutability_exclusion_filters: Some(vec![ImageTagMutabilityExclusionFilter::new(
            ImageTagMutabilityExclusionFilterType::Wildcard,
            ATTACHED,
        )]),
        image_scanning_configuration: Some(ImageScanningConfiguration { scan_on_push: Some(true.into()) }),
        lifecycle_policy: Some(LifecyclePolicy {
            lifecycle_policy_text: Some(lifecycle(project).text().into()),
            ..LifecyclePolicy::default()
        }),
        repository_policy_text: Some(is_shared.document(pull_policy(&accounts)).into()),
        ..Repository::default()
    };
    let reason = "Only the tags of signatures may move, to lists that hold one more; no tag of an image does";
    let repository = Resource::new(repository)
        .retained()
        .except(Rule::Checkov("CKV_AWS_51"), reason)
        .except(Rule::ControlTower("CT.ECR.PR.3"), reason);
    let repository = template.add("Repository", repository);
    template.output("RepositoryUri", "Where images are pushed", &repository.repository_uri());
    template.finish()
}

/// A repository's own policy names no resource: it is the repository.
fn pull_policy(accounts: &Intrinsic) -> Json {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Sid": "Pull", "Effect": "Allow", "Principal": {"AWS": accounts}, "Action": PULL}],
    })
}

/// Images of production stay longest: a rollback needs them. A rule never takes what a rule before it looks after.
///
/// Signatures and attestations are images with a tag, too: a rule of their own keeps them as long as any image they are about,
/// and the last rule, which counts whatever has a tag, counts them in. There is no rule for what has no tag: so are bills of
/// materials, which ECR takes away with their image, and AWS does not say that such a rule would spare them before.
fn lifecycle(project: &Project) -> LifecycleDocument {
    let keep = &project.registry;
    let all = keep.keep_production.saturating_add(keep.keep_staging).saturating_add(keep.keep_others);
    let of = |name: EnvironmentName| format!("{}-*", name.tag_prefix());
    LifecycleDocument::newest([
        ("Signatures and attestations", ATTACHED.to_owned(), all.saturating_mul(ATTACHED_TO_ONE)),
        ("The newest that went to production", of(EnvironmentName::Production), keep.keep_production),
        ("The newest that went to staging", of(EnvironmentName::Staging), keep.keep_staging),
        ("The newest others", "*".to_owned(), keep.keep_others.saturating_mul(1 + ATTACHED_TO_ONE)),
    ])
}
