//! The pipeline: source, build, staging, tests, a person's approval, production.

use environment::{EnvironmentName, Project};
use serde_json::{Map, Value as Json, json};

use super::builds::{Builds, use_connection};
use super::staging_url;
use crate::names::Names;
use crate::policy::{Statement, role};
use crate::resources::codepipeline::Pipeline;
use crate::resources::codepipeline::pipeline::{
    ActionDeclaration, ActionTypeId, ActionTypeIdCategory, ArtifactStore, ArtifactStoreType, GitBranchFilterCriteria,
    GitConfiguration, GitPushFilter, InputArtifact, OutputArtifact, PipelineExecutionMode, PipelinePipelineType,
    PipelineTriggerDeclaration, PipelineTriggerDeclarationProviderType, StageDeclaration,
};
use crate::resources::iam::Role;
use crate::resources::s3::Bucket;
use crate::sub;
use crate::template::{Handle, Template, to_json};
use crate::value::{Intrinsic, arn, iam_arn};

const SOURCE: &str = "SourceOutput";
const BUILD: &str = "BuildOutput";
/// The placeholder of `taskdef.json`, without its angle brackets.
const IMAGE_PLACEHOLDER: &str = "IMAGE1_NAME";

pub(super) fn add(
    template: &mut Template,
    project: &Project,
    bucket: &Handle<Bucket>,
    connection: &Intrinsic,
    builds: &Builds,
) {
    let role = template.add("PipelineRole", pipeline_role(project, bucket, connection, builds));
    let stages = vec![
        stage("Source", source(project, connection)),
        stage("Build", build(builds)),
        stage("DeployToStaging", deploy(project, EnvironmentName::Staging)),
        stage("Test", test(builds)),
        stage("Approval", approval(project)),
        stage("DeployToProduction", deploy(project, EnvironmentName::Production)),
    ];
    let pipeline = Pipeline {
        name: Some(project.pipeline_name().into()),
        pipeline_type: Some(PipelinePipelineType::V2.into()),
        // Nothing may supersede an execution that waits for its approval.
        execution_mode: Some(PipelineExecutionMode::Queued.into()),
        artifact_store: Some(ArtifactStore::new(bucket.reference(), ArtifactStoreType::S3)),
        triggers: Some(vec![trigger(project)]),
        ..Pipeline::new(role.arn(), stages)
    };
    let pipeline = template.add("Pipeline", pipeline);
    template.output("PipelineName", "The pipeline", &pipeline.reference());
    template.output("ArtifactBucketName", "Artifacts of the pipeline", &bucket.reference());
}

fn stage(name: &str, action: ActionDeclaration) -> StageDeclaration {
    StageDeclaration::new(vec![action], name)
}

/// Every push to the branch.
fn trigger(project: &Project) -> PipelineTriggerDeclaration {
    let branch = GitBranchFilterCriteria {
        includes: Some(vec![project.source.branch.as_str().into()]),
        ..GitBranchFilterCriteria::default()
    };
    let push = GitPushFilter { branches: Some(branch), ..GitPushFilter::default() };
    PipelineTriggerDeclaration {
        git_configuration: Some(GitConfiguration { push: Some(vec![push]), ..GitConfiguration::new("Source") }),
        ..PipelineTriggerDeclaration::new(PipelineTriggerDeclarationProviderType::CodeStarSourceConnection)
    }
}

fn action(name: &str, category: ActionTypeIdCategory, provider: &str, configuration: Json) -> ActionDeclaration {
    ActionDeclaration {
        configuration: Some(configuration.into()),
        ..ActionDeclaration::new(ActionTypeId::new(category, "AWS", provider, "1"), name)
    }
}

fn inputs<const N: usize>(names: [&str; N]) -> Option<Vec<InputArtifact>> {
    Some(names.map(InputArtifact::new).to_vec())
}

fn source(project: &Project, connection: &Intrinsic) -> ActionDeclaration {
    let configuration = json!({
        "ConnectionArn": connection,
        "FullRepositoryId": project.source.repository,
        "BranchName": project.source.branch,
        // A reference that builds clone with history: the image carries its commit and the commit's time.
        "OutputArtifactFormat": "CODEBUILD_CLONE_REF",
    });
    ActionDeclaration {
        namespace: Some("SourceVariables".into()),
        output_artifacts: Some(vec![OutputArtifact::new(SOURCE)]),
        ..action("Source", ActionTypeIdCategory::Source, "CodeStarSourceConnection", configuration)
    }
}

fn build(builds: &Builds) -> ActionDeclaration {
    let configuration = json!({"ProjectName": builds.build.reference()});
    ActionDeclaration {
        input_artifacts: inputs([SOURCE]),
        output_artifacts: Some(vec![OutputArtifact::new(BUILD)]),
        ..action("Build", ActionTypeIdCategory::Build, "CodeBuild", configuration)
    }
}

/// The task definition and appspec come from the build, so that they are those of the commit.
fn deploy(project: &Project, environment: EnvironmentName) -> ActionDeclaration {
    let names = Names::new(project, environment);
    let configuration = json!({
        "ApplicationName": names.environment_wide(),
        "DeploymentGroupName": names.service(),
        "TaskDefinitionTemplateArtifact": BUILD,
        "TaskDefinitionTemplatePath": names.task_definition_file(),
        "AppSpecTemplateArtifact": BUILD,
        "AppSpecTemplatePath": names.appspec_file(),
        "Image1ArtifactName": BUILD,
        "Image1ContainerName": IMAGE_PLACEHOLDER,
    });
    ActionDeclaration {
        input_artifacts: inputs([BUILD]),
        ..action("Deploy", ActionTypeIdCategory::Deploy, "CodeDeployToECS", configuration)
    }
}

fn test(builds: &Builds) -> ActionDeclaration {
    let commit = json!([{"name": "COMMIT", "value": "#{SourceVariables.CommitId}", "type": "PLAINTEXT"}]);
    let configuration = json!({
        "ProjectName": builds.test.reference(),
        "EnvironmentVariables": commit.to_string(),
    });
    ActionDeclaration {
        input_artifacts: inputs([SOURCE]),
        ..action("Smoke", ActionTypeIdCategory::Test, "CodeBuild", configuration)
    }
}

fn approval(project: &Project) -> ActionDeclaration {
    let mut configuration = Map::new();
    configuration.insert("CustomData".to_owned(), "Staging serves #{SourceVariables.CommitId}. Promote it?".into());
    configuration.insert("ExternalEntityLink".to_owned(), to_json(&staging_url(project)));
    action("Approve", ActionTypeIdCategory::Approval, "Manual", configuration.into())
}

fn pipeline_role(project: &Project, bucket: &Handle<Bucket>, connection: &Intrinsic, builds: &Builds) -> Role {
    let environments = EnvironmentName::ALL.map(|name| Names::new(project, name));
    let of = |resource: fn(Names<'_>) -> String| environments.map(|names| arn("codedeploy", resource(names)));
    let applications = of(|names| format!("application:{}", names.environment_wide()));
    let groups = of(|names| format!("deploymentgroup:{}/{}", names.environment_wide(), names.service()));
    let objects = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"];
    let builds = [builds.build.arn(), builds.test.arn()];
    let revision =
        ["codedeploy:GetApplication", "codedeploy:GetApplicationRevision", "codedeploy:RegisterApplicationRevision"];
    let statements = vec![
        Statement::allow("Artifacts", objects, [sub![bucket.arn(), "/*"]]),
        Statement::allow("ArtifactBucket", ["s3:GetBucketLocation", "s3:GetBucketVersioning"], [bucket.arn()]),
        use_connection(connection),
        Statement::allow("Build", ["codebuild:BatchGetBuilds", "codebuild:StartBuild"], builds),
        Statement::allow("Revisions", revision, applications),
        Statement::allow("Deploy", ["codedeploy:CreateDeployment", "codedeploy:GetDeployment"], groups),
        Statement::allow("Steps", ["codedeploy:GetDeploymentConfig"], [arn("codedeploy", "deploymentconfig:*")]),
        Statement::allow_unscoped("RegisterTaskDefinition", ["ecs:RegisterTaskDefinition"]),
        Statement::pass_roles(task_roles(environments), "ecs-tasks.amazonaws.com"),
    ];
    let name = format!("{}-pipeline", project.name);
    role(name, "What the pipeline may do", "codepipeline.amazonaws.com", statements)
}

/// The roles that the environments' task definitions name.
fn task_roles(environments: [Names<'_>; 2]) -> Vec<Intrinsic> {
    environments
        .iter()
        .flat_map(|names| [names.execution_role(), names.task_role()])
        .map(|name| iam_arn(format!("role/{name}")))
        .collect()
}
