//! The image repository, shared by the environments.

use environment::{Encryption, EnvironmentName, Project};
use serde_json::{Value as Json, json};

use crate::documents::lifecycle::{LifecycleDocument, Rule};
use crate::keys;
use crate::names::Names;
use crate::resources::ecr::Repository;
use crate::resources::ecr::repository::{
    EncryptionConfiguration, EncryptionType, ImageScanningConfiguration, LifecyclePolicy, RepositoryImageTagMutability,
};
use crate::stack::tags;
use crate::template::{Resource, Template};
use crate::value::Intrinsic;

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
        image_tag_mutability: Some(RepositoryImageTagMutability::Immutable.into()),
        image_scanning_configuration: Some(ImageScanningConfiguration { scan_on_push: Some(true.into()) }),
        lifecycle_policy: Some(LifecyclePolicy {
            lifecycle_policy_text: Some(lifecycle(project).text().into()),
            ..LifecyclePolicy::default()
        }),
        repository_policy_text: Some(is_shared.document(pull_policy(&accounts)).into()),
        ..Repository::default()
    };
    let repository = template.add("Repository", Resource::new(repository).retained());
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
fn lifecycle(project: &Project) -> LifecycleDocument {
    let keep = &project.registry;
    let newest = |prefix: EnvironmentName, count| Rule::newest_tagged(format!("{}-", prefix.tag_prefix()), count);
    LifecycleDocument::new([
        ("Untagged images after a day", Rule::untagged_after_days(1)),
        ("The newest that went to production", newest(EnvironmentName::Production, keep.keep_production)),
        ("The newest that went to staging", newest(EnvironmentName::Staging, keep.keep_staging)),
        ("The newest others", Rule::newest(keep.keep_others)),
    ])
}
