//! From a push to production: artifact bucket, builds, the pipeline and who hears of it.

mod approvals;
mod builds;
mod notices;
mod pipeline;
mod source;

use environment::{Environment, EnvironmentName, Project};
use serde_json::Value as Json;

use crate::buckets::{Private, Requests, bucket_logs};
use crate::names::Names;
use crate::registry::shared_key;
use crate::resources::s3::Bucket;
use crate::stack::tags;
use crate::template::{Handle, Template};
use crate::value::{ACCOUNT, Intrinsic, REGION};
use crate::{service, sub};

/// Days that artifacts and build caches are kept.
const ARTIFACT_DAYS: i64 = 30;
/// Days that requests to artifacts are remembered.
const LOG_DAYS: i64 = 365;

/// What the parts of the stack know of each other. The environment stands for all of them: one pipeline serves
/// environments of one place, one engine and one architecture only.
#[derive(Clone, Copy)]
struct Delivery<'a> {
    project: &'a Project,
    environment: &'a Environment,
    bucket: &'a Handle<Bucket>,
    key: Option<&'a Intrinsic>,
    source: &'a source::Source,
}

pub(crate) fn template(project: &Project, environment: &Environment) -> Json {
    let mut template = Template::new(format!("{}: delivery", project.name), tags(project, None));
    let source = source::Source::add(&mut template, project);
    let key = shared_key(project, environment.shared_encryption(project));
    let bucket = bucket(&mut template, project, environment, key.clone());
    let delivery = Delivery { project, environment, bucket: &bucket, key: key.as_ref(), source: &source };
    let builds = builds::add(&mut template, delivery);
    let topic = notices::topic(&mut template, delivery);
    let pipeline = pipeline::add(&mut template, delivery, &builds, topic.as_ref());
    source.start(&mut template, project, &pipeline);
    if let Some(topic) = &topic {
        notices::add(&mut template, delivery, topic);
        if environment.in_account() {
            approvals::add(&mut template, delivery, &pipeline, topic);
        }
    }
    template.finish()
}

/// The bucket of the artifacts, and in an account the one in which its requests are recorded.
fn bucket(
    template: &mut Template,
    project: &Project,
    environment: &Environment,
    key: Option<Intrinsic>,
) -> Handle<Bucket> {
    let name = |what: &str| sub![format!("{}-{what}-", project.name), ACCOUNT, "-", REGION];
    let requests = if environment.in_account() {
        // S3 writes its own records with no key of ours.
        let logs = Private { name: name("logs"), days: LOG_DAYS, key: None, requests: Requests::Fed };
        Requests::Recorded(logs.add(template, "LogBucket", |bucket| vec![bucket_logs(bucket)]).reference())
    } else {
        Requests::Unrecorded
    };
    let artifacts = Private { name: name("artifacts"), days: ARTIFACT_DAYS, key, requests };
    artifacts.add(template, "ArtifactBucket", |_| Vec::new())
}

/// Where staging answers, from its service stack.
fn staging_url(project: &Project) -> Intrinsic {
    service::Imports(Names::new(project, EnvironmentName::Staging)).url()
}
