//! The names of everything. Fixed names make roles, pipelines and people refer to the same things without
//! looking them up, and keep updates from replacing what holds state.

use environment::{EnvironmentName, Project};

/// The names of one environment's resources.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    project: &'a Project,
    environment: EnvironmentName,
}

impl<'a> Names<'a> {
    /// The names in an environment of the project.
    pub const fn new(project: &'a Project, environment: EnvironmentName) -> Self {
        Names { project, environment }
    }

    /// The environment.
    pub const fn environment(self) -> EnvironmentName {
        self.environment
    }

    /// `smartassist-registry`.
    pub fn registry_stack(self) -> String {
        format!("{}-registry", self.project.name)
    }

    /// `smartassist-network-<environment>`.
    pub fn network_stack(self) -> String {
        format!("{}-network-{}", self.project.name, self.environment)
    }

    /// `smartassist-service-<environment>`.
    pub fn service_stack(self) -> String {
        format!("{}-service-{}", self.project.name, self.environment)
    }

    /// `smartassist-data-<environment>`.
    pub fn data_stack(self) -> String {
        format!("{}-data-{}", self.project.name, self.environment)
    }

    /// `smartassist-observability-<environment>`.
    pub fn observability_stack(self) -> String {
        format!("{}-observability-{}", self.project.name, self.environment)
    }

    /// `smartassist-delivery`.
    pub fn delivery_stack(self) -> String {
        format!("{}-delivery", self.project.name)
    }

    /// `smartassist-<environment>`: the ECS cluster, the load balancer and the CodeDeploy application.
    pub fn environment_wide(self) -> String {
        format!("{}-{}", self.project.name, self.environment)
    }

    /// `chatbot`: the ECS service, the container and the deployment group.
    pub const fn service(self) -> &'static str {
        Project::SERVICE
    }

    /// `smartassist-<environment>-chatbot`.
    pub fn task_family(self) -> String {
        format!("{}-{}", self.environment_wide(), Project::SERVICE)
    }

    /// `/ecs/smartassist-<environment>`.
    pub fn log_group(self) -> String {
        format!("/ecs/{}", self.environment_wide())
    }

    /// `smartassist-<environment>-blue` or `-green`.
    pub fn target_group(self, colour: &str) -> String {
        format!("{}-{colour}", self.environment_wide())
    }

    /// `smartassist-<environment>-execution`: what ECS uses to start a task.
    pub fn execution_role(self) -> String {
        format!("{}-execution", self.environment_wide())
    }

    /// `smartassist-<environment>-task`: what the chatbot itself may do.
    pub fn task_role(self) -> String {
        format!("{}-task", self.environment_wide())
    }

    /// `smartassist-<environment>-codedeploy`.
    pub fn codedeploy_role(self) -> String {
        format!("{}-codedeploy", self.environment_wide())
    }

    /// `smartassist-<environment>-infrastructure`: what ECS uses to move traffic.
    pub fn infrastructure_role(self) -> String {
        format!("{}-infrastructure", self.environment_wide())
    }

    /// `smartassist-<environment>-conversations`.
    pub fn conversations_table(self) -> String {
        format!("{}-conversations", self.environment_wide())
    }

    /// `smartassist-<environment>-<what>`: an alarm.
    pub fn alarm(self, what: &str) -> String {
        format!("{}-{what}", self.environment_wide())
    }

    /// `smartassist-<environment>-validate-canary` or `-monitor-canary`: a function and its role.
    pub fn hook(self, what: &str) -> String {
        format!("{}-{what}-canary", self.environment_wide())
    }

    /// `smartassist-build`: the CodeBuild project and its role.
    pub fn build_project(self) -> String {
        format!("{}-build", self.project.name)
    }

    /// `smartassist-test`: the CodeBuild project and its role.
    pub fn test_project(self) -> String {
        format!("{}-test", self.project.name)
    }

    /// Where the generated task definition is in the checkout.
    pub fn task_definition_file(self) -> String {
        format!("environments/{}/taskdef.json", self.environment)
    }

    /// Where the generated appspec is in the checkout.
    pub fn appspec_file(self) -> String {
        format!("environments/{}/appspec.yaml", self.environment)
    }
}
