//! From a push to production: artifact bucket, builds and the pipeline.

mod builds;
mod pipeline;
mod storage;

use environment::{EnvironmentName, Project};
use serde_json::Value as Json;

use crate::names::Names;
use crate::resources::codeconnections::Connection;
use crate::resources::codeconnections::connection::ConnectionProviderType;
use crate::stack::tags;
use crate::template::Template;
use crate::value::Intrinsic;

pub(crate) fn template(project: &Project) -> Json {
    let mut template = Template::new(format!("{}: delivery", project.name), tags(project, None));
    let connection = connection(&mut template, project);
    let bucket = storage::add(&mut template, project);
    let builds = builds::add(&mut template, project, &bucket, &connection);
    pipeline::add(&mut template, project, &bucket, &connection, &builds);
    template.finish()
}

/// The connection to the repository: the project's own, or a new one that a person accepts once.
fn connection(template: &mut Template, project: &Project) -> Intrinsic {
    if let Some(arn) = &project.source.connection_arn {
        return template.parameter("ConnectionArn", "String", "Connection to the repository", Some(arn));
    }
    let connection = Connection {
        provider_type: Some(ConnectionProviderType::GitHub.into()),
        ..Connection::new(project.name.as_str())
    };
    let connection = template.add("Connection", connection);
    template.output("ConnectionArn", "Accept it once in the console: Connections", &connection.connection_arn());
    connection.connection_arn()
}

/// Where staging answers, from its service stack.
fn staging_url(project: &Project) -> Intrinsic {
    let names = Names::new(project, EnvironmentName::Staging);
    Intrinsic::ImportValue(format!("{}-Url", names.service_stack()))
}
