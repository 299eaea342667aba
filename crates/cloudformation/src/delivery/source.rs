//! Where commits come from.

use environment::{EnvironmentName, Project, SourceProvider};
use serde_json::{Value as Json, json};

use crate::names::Names;
use crate::policy::{Statement, role};
use crate::resources::codeconnections::Connection;
use crate::resources::codeconnections::connection::ConnectionProviderType;
use crate::resources::codepipeline::Pipeline;
use crate::resources::codepipeline::pipeline::{
    GitBranchFilterCriteria, GitConfiguration, GitPushFilter, PipelineTriggerDeclaration,
    PipelineTriggerDeclarationProviderType,
};
use crate::resources::events::Rule;
use crate::resources::events::rule::Target;
use crate::template::{Handle, Template};
use crate::value::{Intrinsic, arn};

/// What it takes to use a connection, unless it was made under the service's old name.
const USE_CONNECTION: &str = "codeconnections:UseConnection";

/// Where commits come from.
pub(super) enum Source {
    /// Through a connection to GitHub; using it is an action of the service that its ARN names.
    Connection { arn: Intrinsic, using: &'static str },
    /// A repository of CodeCommit.
    CodeCommit,
}

impl Source {
    /// The source of the project: its own connection, or a new one that a person accepts once.
    pub(super) fn add(template: &mut Template, project: &Project) -> Self {
        if project.source.provider == SourceProvider::CodeCommit {
            return Source::CodeCommit;
        }
        if let Some(arn) = &project.source.connection_arn {
            let old = arn.contains(":codestar-connections:");
            let using = if old { "codestar-connections:UseConnection" } else { USE_CONNECTION };
            let arn = template.parameter("ConnectionArn", "String", "Connection to the repository", Some(arn));
            return Source::Connection { arn, using };
        }
        let connection = Connection {
            provider_type: Some(ConnectionProviderType::GitHub.into()),
            ..Connection::new(project.name.as_str())
        };
        let connection = template.add("Connection", connection);
        template.output("ConnectionArn", "Accept it once in the console: Connections", &connection.connection_arn());
        Source::Connection { arn: connection.connection_arn(), using: USE_CONNECTION }
    }

    /// The pipeline's provider.
    pub(super) const fn provider(&self) -> &'static str {
        match self {
            Source::Connection { .. } => "CodeStarSourceConnection",
            Source::CodeCommit => "CodeCommit",
        }
    }

    /// The source action's configuration.
    pub(super) fn configuration(&self, project: &Project) -> Json {
        // A reference that builds clone with history: the image carries its commit and the commit's time.
        let format = "CODEBUILD_CLONE_REF";
        match self {
            Source::Connection { arn, .. } => json!({
                "ConnectionArn": arn,
                "FullRepositoryId": project.source.repository,
                "BranchName": project.source.branch,
                "OutputArtifactFormat": format,
            }),
            Source::CodeCommit => json!({
                "RepositoryName": project.source.repository,
                "BranchName": project.source.branch,
                "PollForSourceChanges": "false",
                "OutputArtifactFormat": format,
            }),
        }
    }

    /// The pipeline's own trigger: every push to the branch. CodeCommit's pushes come as events.
    pub(super) fn trigger(&self, project: &Project) -> Option<PipelineTriggerDeclaration> {
        let Source::Connection { .. } = self else { return None };
        let branch = GitBranchFilterCriteria {
            includes: Some(vec![project.source.branch.as_str().into()]),
            ..GitBranchFilterCriteria::default()
        };
        let push = GitPushFilter { branches: Some(branch), ..GitPushFilter::default() };
        Some(PipelineTriggerDeclaration {
            git_configuration: Some(GitConfiguration { push: Some(vec![push]), ..GitConfiguration::new("Source") }),
            ..PipelineTriggerDeclaration::new(PipelineTriggerDeclarationProviderType::CodeStarSourceConnection)
        })
    }

    /// Starts the pipeline at every push to the branch of a CodeCommit repository.
    pub(super) fn start(&self, template: &mut Template, project: &Project, pipeline: &Handle<Pipeline>) {
        let Source::CodeCommit = self else { return };
        let pipeline_arn = arn("codepipeline", pipeline.reference());
        let start = Statement::allow("Start", ["codepipeline:StartPipelineExecution"], [pipeline_arn.clone()]);
        let name = format!("{}-push", Names::new(project, EnvironmentName::Staging).delivery_stack());
        let starter = role(name.clone(), "How a push starts the pipeline", "events.amazonaws.com", vec![start]);
        let starter = template.add("PushRole", starter);
        let pattern = json!({
            "source": ["aws.codecommit"],
            "detail-type": ["CodeCommit Repository State Change"],
            "resources": [repository(project)],
            "detail": {
                "event": ["referenceCreated", "referenceUpdated"],
                "referenceType": ["branch"],
                "referenceName": [project.source.branch],
            },
        });
        let target = Target { role_arn: Some(starter.arn().into()), ..Target::new(pipeline_arn, "pipeline") };
        let rule = Rule {
            name: Some(name.into()),
            description: Some("A push to the branch".into()),
            event_pattern: Some(pattern.into()),
            targets: Some(vec![target]),
            ..Rule::default()
        };
        template.add("PushRule", rule);
    }

    /// What a build needs to clone the commit.
    pub(super) fn clone_statement(&self, project: &Project) -> Statement {
        self.statement(project, &["codecommit:GitPull"])
    }

    /// What the pipeline needs to read the branch.
    pub(super) fn read_statement(&self, project: &Project) -> Statement {
        let read = [
            "codecommit:CancelUploadArchive",
            "codecommit:GetBranch",
            "codecommit:GetCommit",
            "codecommit:GetRepository",
            "codecommit:GetUploadArchiveStatus",
            "codecommit:UploadArchive",
        ];
        self.statement(project, &read)
    }

    /// A connection is used in one way only, a repository of CodeCommit in as many as it has actions.
    fn statement(&self, project: &Project, codecommit: &[&'static str]) -> Statement {
        match self {
            Source::Connection { arn, using } => Statement::allow("Source", [*using], [arn.clone()]),
            Source::CodeCommit => Statement::allow("Source", codecommit.iter().copied(), [repository(project)]),
        }
    }
}

fn repository(project: &Project) -> Intrinsic {
    arn("codecommit", project.source.repository.clone())
}
