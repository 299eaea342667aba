//! The image repository.

use environment::Project;
use serde_json::{Value as Json, json};

use crate::resources::ecr::Repository;
use crate::resources::ecr::repository::{ImageScanningConfiguration, LifecyclePolicy, RepositoryImageTagMutability};
use crate::stack::tags;
use crate::template::{Resource, Template};

pub(crate) fn template(project: &Project) -> Json {
    let mut template = Template::new(format!("{}: the image repository", project.name), tags(project, None));
    let repository = Repository {
        repository_name: Some(project.image_repository.as_str().into()),
        image_tag_mutability: Some(RepositoryImageTagMutability::Immutable.into()),
        image_scanning_configuration: Some(ImageScanningConfiguration { scan_on_push: Some(true.into()) }),
        lifecycle_policy: Some(LifecyclePolicy {
            lifecycle_policy_text: Some(lifecycle().to_string().into()),
            ..LifecyclePolicy::default()
        }),
        ..Repository::default()
    };
    let repository = template.add("Repository", Resource::new(repository).retained());
    template.output("RepositoryUri", "Where images are pushed", &repository.repository_uri());
    template.finish()
}

/// Images of production stay longest: a rollback needs them.
fn lifecycle() -> Json {
    let rule = |priority: u32, description: &str, selection: Json| {
        json!({
            "rulePriority": priority,
            "description": description,
            "selection": selection,
            "action": {"type": "expire"},
        })
    };
    let newest = |prefix: &str, count: u32| json!({"tagStatus": "tagged", "tagPrefixList": [prefix], "countType": "imageCountMoreThan", "countNumber": count});
    let untagged = json!({
        "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1,
    });
    json!({"rules": [
        rule(1, "Untagged images after a day", untagged),
        rule(2, "The newest 100 that went to production", newest("prod-", 100)),
        rule(3, "The newest 50 that went to staging", newest("staging-", 50)),
    ]})
}
