//! The CodeBuild projects: one builds and pushes the image, one tests staging.

use environment::{Architecture, Builder, EnvironmentName, Project};

use super::{Delivery, staging_url};
use crate::documents::masking::Masking;
use crate::files::{BUILDSPEC_FILE, smoke_buildspec};
use crate::keys::use_key;
use crate::names::Names;
use crate::policy::{Statement, role};
use crate::resources::codebuild::Project as BuildProject;
use crate::resources::codebuild::project::{
    Artifacts, CloudWatchLogsConfig, Environment, EnvironmentVariable, LogsConfig, ProjectCache, RegistryCredential,
    Source,
};
use crate::resources::iam::Role;
use crate::resources::logs::LogGroup;
use crate::service::registry_login;
use crate::template::{Handle, Resource, Rule, Template, to_json};
use crate::value::arn;
use crate::{logs, sub};

/// A build that takes longer hangs.
const TIMEOUT_MINUTES: i64 = 30;

/// What the pipeline starts.
pub(super) struct Builds {
    pub(super) build: Handle<BuildProject>,
    pub(super) test: Handle<BuildProject>,
}

pub(super) fn add(template: &mut Template, delivery: Delivery<'_>) -> Builds {
    let project = delivery.project;
    let names = Names::new(project, EnvironmentName::Staging);
    let build = Build {
        id: "Build",
        name: names.build_project(),
        description: "Tests the chatbot, builds its image and pushes it",
        buildspec: BUILDSPEC_FILE.to_owned(),
        variables: vec![EnvironmentVariable::new("IMAGE_REPOSITORY", project.image_repository.as_str())],
        privileged: project.build.builder == Builder::Docker,
        statements: [registry_login(), push_statement(project), scan_statement(project)]
            .into_iter()
            .chain(sign_statement(project))
            .collect(),
    };
    let test = Build {
        id: "Test",
        name: names.test_project(),
        description: "Tests what staging serves",
        buildspec: smoke_buildspec(),
        variables: vec![EnvironmentVariable::new("SMOKE_URL", staging_url(project))],
        privileged: false,
        statements: Vec::new(),
    };
    Builds { build: build.add(template, delivery), test: test.add(template, delivery) }
}

/// What one build has of its own.
struct Build {
    id: &'static str,
    name: String,
    description: &'static str,
    buildspec: String,
    variables: Vec<EnvironmentVariable>,
    /// Whether a Docker engine runs inside.
    privileged: bool,
    statements: Vec<Statement>,
}

impl Build {
    fn add(self, template: &mut Template, delivery: Delivery<'_>) -> Handle<BuildProject> {
        let Delivery { environment, bucket, key, .. } = delivery;
        let mut logs = logs::group(format!("/aws/codebuild/{}", self.name), environment.log_retention(), key.cloned());
        if environment.in_account() {
            // CodeBuild itself hides the secrets that it gives to a build; this is for what a build finds or makes.
            logs.properties_mut().data_protection_policy = Some(to_json(&Masking::of_credentials()).into());
        }
        let logs = template.add(format!("{}Logs", self.id), logs);
        let role = build_role(self.name.clone(), &logs, delivery, self.statements);
        let role = template.add(format!("{}Role", self.id), role);
        let source = Source { build_spec: Some(self.buildspec.into()), ..Source::new("CODEPIPELINE") };
        let build = BuildProject {
            name: Some(self.name.as_str().into()),
            description: Some(self.description.into()),
            encryption_key: key.cloned().map(Into::into),
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
            ..BuildProject::new(
                Artifacts::new("CODEPIPELINE"),
                container(delivery, self.variables, self.privileged),
                role.arn(),
                source,
            )
        };
        let mut build = Resource::new(build);
        if self.privileged {
            let reason = "The Docker builder was chosen, and its engine needs it; the builder oci needs none";
            build = build.except(Rule::ControlTower("CT.CODEBUILD.PR.4"), reason);
        }
        template.add(format!("{}Project", self.id), build)
    }
}

/// The container of a build. Source and result go through the pipeline.
fn container(delivery: Delivery<'_>, variables: Vec<EnvironmentVariable>, privileged: bool) -> Environment {
    let build = &delivery.project.build;
    // CodeBuild's own images are pulled by CodeBuild, others with the project's role, or an account of Docker Hub.
    let own = build.image.starts_with("aws/codebuild/");
    let login = build.docker_hub.as_ref().filter(|_| !own);
    let kind = match delivery.environment.task.architecture {
        Architecture::X86_64 => "LINUX_CONTAINER",
        Architecture::Arm64 => "ARM_CONTAINER",
    };
    Environment {
        environment_variables: Some(variables),
        image_pull_credentials_type: Some(if own { "CODEBUILD" } else { "SERVICE_ROLE" }.into()),
        registry_credential: login.map(|secret| RegistryCredential::new(secret.as_str(), "SECRETS_MANAGER")),
        privileged_mode: Some(privileged.into()),
        ..Environment::new(build.compute.as_str(), build.image.as_str(), kind)
    }
}

/// What both builds do: write logs, exchange artifacts, keep a cache, clone the commit.
fn build_role(name: String, logs: &Handle<LogGroup>, delivery: Delivery<'_>, own: Vec<Statement>) -> Resource<Role> {
    let Delivery { project, bucket, key, source, .. } = delivery;
    let objects = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"];
    let mut statements = vec![
        Statement::allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [logs.arn()]),
        Statement::allow("Artifacts", objects, [sub![bucket.arn(), "/*"]]),
        Statement::allow("ArtifactBucket", ["s3:GetBucketAcl", "s3:GetBucketLocation"], [bucket.arn()]),
        source.clone_statement(project),
    ];
    statements.extend(key.map(use_key));
    if let Some(secret) = &project.build.docker_hub {
        let secret = arn("secretsmanager", format!("secret:{secret}-??????"));
        statements.push(Statement::allow("DockerHub", ["secretsmanager:GetSecretValue"], [secret]));
    }
    statements.extend(own);
    let description = format!("What the build {name} may do");
    role(name, &description, "codebuild.amazonaws.com", statements)
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

/// The build judges what it has pushed, where an environment demands a scan.
fn scan_statement(project: &Project) -> Statement {
    let actions = ["ecr:DescribeImageScanFindings", "ecr:StartImageScan"];
    Statement::allow("ScanImage", actions, [arn("ecr", format!("repository/{}", project.image_repository))])
}

/// The build signs what it has pushed. The alias stands for whichever key has it at the time, so the statement is about the alias.
fn sign_statement(project: &Project) -> Option<Statement> {
    let alias = project.build.signing_key.as_deref()?;
    let sign = Statement::allow("SignImage", ["kms:GetPublicKey", "kms:Sign"], [arn("kms", "key/*")]);
    Some(sign.when("StringEquals", "kms:RequestAlias", alias))
}
