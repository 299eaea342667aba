//! The pipeline: source, build, staging, tests, a person's approval, production.

use environment::{Engine, EnvironmentName, Project};
use serde_json::{Map, Value as Json, json};

use super::builds::Builds;
use super::source::Source;
use super::{Delivery, staging_url};
use crate::keys::use_key;
use crate::names::Names;
use crate::policy::{Statement, role};
use crate::resources::codepipeline::Pipeline;
use crate::resources::codepipeline::pipeline::{
    ActionDeclaration, ActionTypeId, ActionTypeIdCategory, ArtifactStore, ArtifactStoreType, BeforeEntryConditions,
    Condition, EncryptionKey, FailureConditions, FailureConditionsResult, InputArtifact, OutputArtifact,
    PipelineExecutionMode, PipelinePipelineType, RuleDeclaration, RuleTypeId, StageDeclaration, SuccessConditions,
};
use crate::resources::iam::Role;
use crate::resources::sns::Topic;
use crate::sub;
use crate::template::{Handle, Resource, Template, to_json};
use crate::value::{Intrinsic, arn, iam_arn};

const SOURCE: &str = "SourceOutput";
const BUILD: &str = "BuildOutput";
/// The placeholder of `taskdef.json`, without its angle brackets.
const IMAGE_PLACEHOLDER: &str = "IMAGE1_NAME";

/// Where a person says yes.
pub(super) const APPROVAL_STAGE: &str = "Approval";

/// How long CodePipeline waits for an approval when nobody says.
const APPROVAL_MINUTES: i64 = 7 * 24 * 60;

pub(super) fn add(
    template: &mut Template,
    delivery: Delivery<'_>,
    builds: &Builds,
    topic: Option<&Handle<Topic>>,
) -> Handle<Pipeline> {
    let Delivery { project, bucket, key, source: from, .. } = delivery;
    let role = template.add("PipelineRole", pipeline_role(delivery, builds, topic));
    let stages = vec![
        stage("Source", source(project, from)),
        stage("Build", build(builds)),
        deploy_stage("DeployToStaging", delivery, EnvironmentName::Staging),
        stage("Test", test(builds)),
        stage(APPROVAL_STAGE, approval(project, topic)),
        deploy_stage("DeployToProduction", delivery, EnvironmentName::Production),
    ];
    let store = ArtifactStore {
        encryption_key: key.map(|key| EncryptionKey::new(key.clone(), "KMS")),
        ..ArtifactStore::new(bucket.reference(), ArtifactStoreType::S3)
    };
    let pipeline = Pipeline {
        name: Some(project.pipeline_name().into()),
        pipeline_type: Some(PipelinePipelineType::V2.into()),
        // Nothing may supersede an execution that waits for its approval.
        execution_mode: Some(PipelineExecutionMode::Queued.into()),
        artifact_store: Some(store),
        triggers: from.trigger(project).map(|trigger| vec![trigger]),
        ..Pipeline::new(role.arn(), stages)
    };
    let pipeline = template.add("Pipeline", pipeline);
    template.output("PipelineName", "The pipeline", &pipeline.reference());
    template.output("ArtifactBucketName", "Artifacts of the pipeline", &bucket.reference());
    pipeline
}

fn stage(name: &str, action: ActionDeclaration) -> StageDeclaration {
    StageDeclaration::new(vec![action], name)
}

/// A stage that moves an environment. CodeDeploy takes a deployment that fails back by itself, and a second hand at
/// the same time would be in its way; after ECS the pipeline runs the stage's last good execution again. Production
/// is also taken back when its alarm fires just after, and entered in its window only.
fn deploy_stage(name: &str, delivery: Delivery<'_>, to: EnvironmentName) -> StageDeclaration {
    let Delivery { project, environment, .. } = delivery;
    let mut stage = stage(name, deploy(project, environment.deployment.engine, to));
    if !environment.pipeline_rolls_back(project) {
        return stage;
    }
    if environment.deployment.engine == Engine::Ecs {
        let back = FailureConditionsResult::Rollback;
        stage.on_failure = Some(FailureConditions { result: Some(back.into()), ..FailureConditions::default() });
    }
    if to == EnvironmentName::Production && environment.alarms.is_some() {
        let alarm = Names::new(project, to).alarm("errors");
        let quiet = json!({"AlarmName": alarm, "WaitTime": "5"});
        stage.on_success = Some(SuccessConditions {
            conditions: Some(vec![condition("ROLLBACK", "ErrorsStayRare", "CloudWatchAlarm", quiet)]),
        });
    }
    if let (EnvironmentName::Production, Some(window)) = (to, &project.pipeline.window) {
        let open = json!({"Cron": format!("cron({window})"), "TimeZone": "UTC"});
        stage.before_entry = Some(BeforeEntryConditions {
            conditions: Some(vec![condition("FAIL", "Window", "DeploymentWindow", open)]),
        });
    }
    stage
}

/// What happens unless a rule holds.
fn condition(result: &str, name: &str, provider: &str, configuration: Json) -> Condition {
    let kind = RuleTypeId {
        category: Some("Rule".into()),
        owner: Some("AWS".into()),
        provider: Some(provider.into()),
        version: Some("1".into()),
    };
    let rule = RuleDeclaration {
        name: Some(name.into()),
        rule_type_id: Some(kind),
        configuration: Some(configuration.into()),
        ..RuleDeclaration::default()
    };
    Condition { result: Some(result.into()), rules: Some(vec![rule]) }
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

fn source(project: &Project, from: &Source) -> ActionDeclaration {
    ActionDeclaration {
        namespace: Some("SourceVariables".into()),
        output_artifacts: Some(vec![OutputArtifact::new(SOURCE)]),
        ..action("Source", ActionTypeIdCategory::Source, from.provider(), from.configuration(project))
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

fn deploy(project: &Project, engine: Engine, environment: EnvironmentName) -> ActionDeclaration {
    let names = Names::new(project, environment);
    let (provider, configuration) = match engine {
        // The task definition and appspec come from the build, so that they are those of the commit.
        Engine::Codedeploy => (
            "CodeDeployToECS",
            json!({
                "ApplicationName": names.environment_wide(),
                "DeploymentGroupName": names.service(),
                "TaskDefinitionTemplateArtifact": BUILD,
                "TaskDefinitionTemplatePath": names.task_definition_file(),
                "AppSpecTemplateArtifact": BUILD,
                "AppSpecTemplatePath": names.appspec_file(),
                "Image1ArtifactName": BUILD,
                "Image1ContainerName": IMAGE_PLACEHOLDER,
            }),
        ),
        // It puts the new image into the service's current task definition; the service itself knows its strategy.
        Engine::Ecs => (
            "ECS",
            json!({
                "ClusterName": names.environment_wide(),
                "ServiceName": names.service(),
                "FileName": "imagedefinitions.json",
            }),
        ),
    };
    ActionDeclaration {
        input_artifacts: inputs([BUILD]),
        ..action("Deploy", ActionTypeIdCategory::Deploy, provider, configuration)
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

fn approval(project: &Project, topic: Option<&Handle<Topic>>) -> ActionDeclaration {
    let mut configuration = Map::new();
    configuration.insert("CustomData".to_owned(), "Staging serves #{SourceVariables.CommitId}. Promote it?".into());
    configuration.insert("ExternalEntityLink".to_owned(), to_json(&staging_url(project)));
    if let Some(topic) = topic {
        configuration.insert("NotificationArn".to_owned(), to_json(&topic.reference()));
    }
    let minutes = project.pipeline.approval_timeout.as_minutes().and_then(|minutes| i64::try_from(minutes).ok());
    ActionDeclaration {
        timeout_in_minutes: minutes.filter(|minutes| *minutes != APPROVAL_MINUTES).map(Into::into),
        ..action("Approve", ActionTypeIdCategory::Approval, "Manual", configuration.into())
    }
}

fn pipeline_role(delivery: Delivery<'_>, builds: &Builds, topic: Option<&Handle<Topic>>) -> Resource<Role> {
    let Delivery { project, environment, bucket, key, source, .. } = delivery;
    let environments = EnvironmentName::ALL.map(|name| Names::new(project, name));
    let objects = ["s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"];
    let builds = [builds.build.arn(), builds.test.arn()];
    let mut statements = vec![
        Statement::allow("Artifacts", objects, [sub![bucket.arn(), "/*"]]),
        Statement::allow("ArtifactBucket", ["s3:GetBucketLocation", "s3:GetBucketVersioning"], [bucket.arn()]),
        source.read_statement(project),
        Statement::allow("Build", ["codebuild:BatchGetBuilds", "codebuild:StartBuild"], builds),
    ];
    statements.extend(match environment.deployment.engine {
        Engine::Codedeploy => by_codedeploy(environments),
        Engine::Ecs => by_ecs(environments),
    });
    let families = environments.map(|names| arn("ecs", format!("task-definition/{}:*", names.task_family())));
    statements.push(Statement::allow("RegisterTaskDefinition", ["ecs:RegisterTaskDefinition"], families));
    statements.push(Statement::allow_unscoped(
        "ReadTaskDefinition",
        ["ecs:DescribeTaskDefinition"],
        "ECS has no resource for reading task definitions",
    ));
    statements.push(Statement::pass_roles(task_roles(environments), "ecs-tasks.amazonaws.com"));
    statements.extend(key.map(use_key));
    if let Some(topic) = topic {
        statements.push(Statement::allow("Tell", ["sns:Publish"], [topic.reference()]));
    }
    if environment.pipeline_rolls_back(project) && environment.alarms.is_some() {
        let alarm = Names::new(project, EnvironmentName::Production).alarm("errors");
        let alarm = arn("cloudwatch", format!("alarm:{alarm}"));
        statements.push(Statement::allow("Watch", ["cloudwatch:DescribeAlarms"], [alarm]));
    }
    let name = format!("{}-pipeline", project.name);
    role(name, "What the pipeline may do", "codepipeline.amazonaws.com", statements)
}

fn by_codedeploy(environments: [Names<'_>; 2]) -> Vec<Statement> {
    let of = |resource: fn(Names<'_>) -> String| environments.map(|names| arn("codedeploy", resource(names)));
    let applications = of(|names| format!("application:{}", names.environment_wide()));
    let groups = of(|names| format!("deploymentgroup:{}/{}", names.environment_wide(), names.service()));
    let revision =
        ["codedeploy:GetApplication", "codedeploy:GetApplicationRevision", "codedeploy:RegisterApplicationRevision"];
    vec![
        Statement::allow("Revisions", revision, applications),
        Statement::allow("Deploy", ["codedeploy:CreateDeployment", "codedeploy:GetDeployment"], groups),
        Statement::allow("Steps", ["codedeploy:GetDeploymentConfig"], [arn("codedeploy", "deploymentconfig:*")]),
    ]
}

fn by_ecs(environments: [Names<'_>; 2]) -> Vec<Statement> {
    let services =
        environments.map(|names| arn("ecs", format!("service/{}/{}", names.environment_wide(), names.service())));
    let tasks = environments.map(|names| arn("ecs", format!("task/{}/*", names.environment_wide())));
    vec![
        Statement::allow("Deploy", ["ecs:DescribeServices", "ecs:TagResource", "ecs:UpdateService"], services),
        Statement::allow("Follow", ["ecs:DescribeTasks"], tasks),
        Statement::allow_unscoped(
            "FindTasks",
            ["ecs:ListTasks"],
            "ECS lists tasks by container instance, and Fargate has none",
        ),
    ]
}

/// The roles that the environments' task definitions name.
fn task_roles(environments: [Names<'_>; 2]) -> Vec<Intrinsic> {
    environments
        .iter()
        .flat_map(|names| [names.execution_role(), names.task_role()])
        .map(|name| iam_arn(format!("role/{name}")))
        .collect()
}
