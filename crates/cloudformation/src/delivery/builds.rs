//! The CodeBuild projects: one builds and pushes the image, one tests staging.

use environment::Project;

use super::staging_url;
use crate::files::{BUILDSPEC_FILE, smoke_buildspec};
use crate::names::Names;
use crate::policy::{Statement, role};
use crate::resources::codebuild::Project as BuildProject;
use crate::resources::codebuild::project::{
    Artifacts, CloudWatchLogsConfig, Environment, EnvironmentVariable, LogsConfig, ProjectCache, Source,
};
use crate::resources::iam::Role;
use crate::resources::logs::LogGroup;
use crate::resources::s3::Bucket;
use crate::sub;
use crate::template::{Handle, Resource, Template};
use crate::value::{Intrinsic, arn};

/// Days that build logs are kept.
const LOG_RETENTION_DAYS: i64 = 30;
/// A build that takes longer hangs.
const TIMEOUT_MINUTES: i64 = 30;

/// What the pipeline starts.
pub(super) struct Builds {
    pub(super) build: Handle<BuildProject>,
    pub(super) test: Handle<BuildProject>,
}

pub(super) fn add(
    template: &mut Template,
    project: &Project,
    bucket: &Handle<Bucket>,
    connection: &Intrinsic,
) -> Builds {
    let names = Names::new(project, environment::EnvironmentName::Staging);
    let build = Build {
        id: "Build",
        name: names.build_project(),
        description: "Tests the chatbot, builds its image and pushes it",
        buildspec: BUILDSPEC_FILE.to_owned(),
        variables: vec![EnvironmentVariable::new("IMAGE_REPOSITORY", project.image_repository.as_str())],
        statements: vec![
            Statement::allow_unscoped("RegistryLogin", ["ecr:GetAuthorizationToken"]),
            push_statement(project),
        ],
    };
    let test = Build {
        id: "Test",
        name: names.test_project(),
        description: "Tests what staging serves",
        buildspec: smoke_buildspec(),
        variables: vec![EnvironmentVariable::new("SMOKE_URL", staging_url(project))],
        statements: Vec::new(),
    };
    Builds {
        build: build.add(template, project, bucket, connection),
        test: test.add(template, project, bucket, connection),
    }
}

/// What one build has of its own.
struct Build {
    id: &'static str,
    name: String,
    description: &'static str,
    buildspec: String,
    variables: Vec<EnvironmentVariable>,
    statements: Vec<Statement>,
}

impl Build {
    fn add(
        self,
        template: &mut Template,
        project: &Project,
        bucket: &Handle<Bucket>,
        connection: &Intrinsic,
    ) -> Handle<BuildProject> {
        let logs = LogGroup {
            log_group_name: Some(format!("/aws/codebuild/{}", self.name).into()),
            retention_in_days: Some(LOG_RETENTION_DAYS.into()),
            ..LogGroup::default()
        };
        let logs = template.add(format!("{}Logs", self.id), Resource::new(logs).disposable());
        let role = build_role(self.name.clone(), &logs, bucket, connection, self.statements);
        let role = template.add(format!("{}Role", self.id), role);
        // Source and result go through the pipeline. No Docker engine is needed, so nothing is privileged.
        let container = Environment {
            environment_variables: Some(self.variables),
            // Images that are not CodeBuild's own are pulled with the project's role.
            image_pull_credentials_type: Some("SERVICE_ROLE".into()),
            privileged_mode: Some(false.into()),
            ..Environment::new(project.build.compute.as_str(), project.build.image.as_str(), "LINUX_CONTAINER")
        };
        let source = Source { build_spec: Some(self.buildspec.into()), ..Source::new("CODEPIPELINE") };
        let build = BuildProject {
            name: Some(self.name.as_str().into()),
            description: Some(self.description.into()),
            cache: Some(ProjectCache {
                location: Some(sub![bucket.reference(), "/cache/", self.name].into()),
                ..ProjectCache::new("S3")
            }),
            logs_config: Some(LogsConfig {
                cloud_watch_logs: Some(CloudWatchLogsConfig {
                    group_name: Some(logs.reference().into()),
                    ..CloudWatchLogsConfig::new("ENABLED")
                }),
                ..LogsConfig::default()
            }),
            timeout_in_minutes: Some(TIMEOUT_MINUTES.into()),
            ..BuildProject::new(Artifacts::new("CODEPIPELINE"), container, role.arn(), source)
        };
        template.add(format!("{}Project", self.id), build)
    }
}

/// What both builds do: write logs, exchange artifacts, keep a cache, clone the commit.
fn build_role(
    name: String,
    logs: &Handle<LogGroup>,
    bucket: &Handle<Bucket>,
    connection: &Intrinsic,
    own: Vec<Statement>,
) -> Role {
    let objects = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"];
    let mut statements = vec![
        Statement::allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [logs.arn()]),
        Statement::allow("Artifacts", objects, [sub![bucket.arn(), "/*"]]),
        Statement::allow("ArtifactBucket", ["s3:GetBucketAcl", "s3:GetBucketLocation"], [bucket.arn()]),
        use_connection(connection),
    ];
    statements.extend(own);
    let description = format!("What the build {name} may do");
    role(name, &description, "codebuild.amazonaws.com", statements)
}

/// The source arrives as a reference to a commit, which the build clones through the connection.
pub(super) fn use_connection(connection: &Intrinsic) -> Statement {
    let actions = ["codeconnections:UseConnection", "codestar-connections:UseConnection"];
    Statement::allow("Source", actions, [connection.clone()])
}

fn push_statement(project: &Project) -> Statement {
    let actions = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeImages",
        "ecr:DescribeRepositories",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
    ];
    Statement::allow("PushImage", actions, [arn("ecr", format!("repository/{}", project.image_repository))])
}
