//! The functions that try a new version: ValidateCanary before it takes production traffic, MonitorCanary once it
//! has all of it. CodeDeploy calls them by the appspec, ECS by the service's lifecycle hooks.

use environment::{Architecture, Engine, Environment, HookSettings};
use serde_json::json;

use super::balancing::Balancer;
use super::url;
use crate::names::Names;
use crate::network::Imports;
use crate::policy::{Statement, role};
use crate::resources::iam::Role;
use crate::resources::lambda::Function;
use crate::resources::lambda::function::{
    Code, Environment as Variables, FunctionArchitecture, FunctionRuntime, LoggingConfig, TracingConfig,
    TracingConfigMode, VpcConfig,
};
use crate::resources::logs::LogGroup;
use crate::template::{Handle, Resource, Rule, Template};
use crate::value::{Intrinsic, arn};
use crate::{logs, service};

/// MiB, the least that gives a function enough CPU for TLS.
const MEMORY: i64 = 256;

/// The functions and the role under which ECS calls them.
pub(super) struct Hooks {
    pub(super) validate: Handle<Function>,
    pub(super) monitor: Handle<Function>,
    pub(super) caller: Handle<Role>,
}

/// Where the code lies; whoever uploads another one gives its key when the stack is updated.
struct CodePlace {
    bucket: Intrinsic,
    key: Intrinsic,
}

pub(super) fn add(
    template: &mut Template,
    environment: &Environment,
    names: Names<'_>,
    balancer: &Balancer,
    key: Option<Intrinsic>,
) -> Option<Hooks> {
    let settings = environment.deployment.hooks.as_ref()?;
    let place = CodePlace {
        bucket: template.parameter(
            "HookCodeBucket",
            "String",
            "Bucket of the code of ValidateCanary and MonitorCanary, which no stack builds",
            Some(&settings.code_bucket),
        ),
        key: template.parameter(
            "HookCodeKey",
            "String",
            "Key of their zip file with the binary bootstrap; a new key is a new version",
            Some(&settings.code_key),
        ),
    };
    let hook = Hook { environment, names, balancer, settings, place: &place, key: key.as_ref() };
    let validate =
        hook.add(template, "ValidateCanary", "validate", "Talks to a new version on the test listener", vec![]);
    let watch = Statement::allow_unscoped(
        "Watch",
        ["cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"],
        "CloudWatch reads metrics and lists of alarms by no resource",
    );
    let monitor =
        hook.add(template, "MonitorCanary", "monitor", "Watches a new version that takes all traffic", vec![watch]);
    let call = Statement::allow("CallHooks", ["lambda:InvokeFunction"], [validate.arn(), monitor.arn()]);
    let caller = role(names.hook("call"), "How ECS calls the deployment's functions", "ecs.amazonaws.com", vec![call]);
    let caller = template.add("HookCallerRole", caller);
    Some(Hooks { validate, monitor, caller })
}

/// What both functions share.
struct Hook<'a> {
    environment: &'a Environment,
    names: Names<'a>,
    balancer: &'a Balancer,
    settings: &'a HookSettings,
    place: &'a CodePlace,
    key: Option<&'a Intrinsic>,
}

impl Hook<'_> {
    fn add(
        &self,
        template: &mut Template,
        id: &str,
        what: &str,
        description: &str,
        own: Vec<Statement>,
    ) -> Handle<Function> {
        let name = self.names.hook(what);
        let logs = logs::group(format!("/aws/lambda/{name}"), self.environment.log_retention(), self.key.cloned());
        let logs = template.add(format!("{id}Logs"), logs);
        let role = template.add(format!("{id}Role"), self.role(&name, &logs, own));
        let network = Imports(self.names);
        let subnets = (1..=self.environment.network.zones).map(|zone| network.private_subnet(zone).into());
        let architecture = match self.settings.architecture {
            Architecture::X86_64 => FunctionArchitecture::X8664,
            Architecture::Arm64 => FunctionArchitecture::Arm64,
        };
        let seconds = i64::try_from(self.settings.timeout.as_seconds()).unwrap_or(i64::MAX);
        let function = Function {
            function_name: Some(name.into()),
            description: Some(description.into()),
            architectures: Some(vec![architecture.into()]),
            runtime: Some(FunctionRuntime::ProvidedAl2023.into()),
            handler: Some(format!("bootstrap.{what}").into()),
            memory_size: Some(MEMORY.into()),
            timeout: Some(seconds.into()),
            // A deployment calls a hook once; two leave room for another try.
            reserved_concurrent_executions: Some(2.into()),
            environment: Some(Variables { variables: Some(self.variables().into()) }),
            kms_key_arn: self.key.cloned().map(Into::into),
            logging_config: Some(LoggingConfig {
                log_group: Some(logs.reference().into()),
                ..LoggingConfig::default()
            }),
            tracing_config: Some(TracingConfig { mode: Some(TracingConfigMode::Active.into()) }),
            vpc_config: Some(VpcConfig {
                security_group_ids: Some(vec![network.hook_group().into()]),
                subnet_ids: Some(subnets.collect()),
                ..VpcConfig::default()
            }),
            ..Function::new(
                Code {
                    s3_bucket: Some(self.place.bucket.clone().into()),
                    s3_key: Some(self.place.key.clone().into()),
                    ..Code::default()
                },
                role.arn(),
            )
        };
        let answered = "A deployment waits for its answer and fails without one: there is no event to keep for later";
        let inside = "Its subnets are another stack's; the rule knows subnets of the same template only";
        let signed = "The bucket of the code is the release process's own; the key names the commit it was built from";
        let resource = Resource::new(function)
            .except(Rule::Checkov("CKV_AWS_116"), answered)
            .except(Rule::Checkov("CKV_AWS_272"), signed)
            .except(Rule::ControlTower("CT.LAMBDA.PR.3"), inside);
        template.add(id, resource)
    }

    /// Where the new version answers, how often it is asked, and what tells that it does not do well.
    fn variables(&self) -> serde_json::Value {
        let edge = &self.environment.edge;
        let address = url(self.environment, self.balancer.load_balancer.dns_name(), edge.test_port);
        let mut alarms = service::gates(self.environment, self.names);
        alarms.extend(self.environment.deployment.alarms.iter().cloned());
        json!({
            "TEST_URL": address,
            "CONVERSATIONS": self.settings.conversations.to_string(),
            "ALARMS": alarms.join(","),
        })
    }

    fn role(&self, name: &str, logs: &Handle<LogGroup>, own: Vec<Statement>) -> Resource<Role> {
        let mut statements = vec![
            Statement::allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], [logs.arn()]),
            Statement::allow_unscoped(
                "Trace",
                ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
                "X-Ray has no resource for what is sent to it",
            ),
            Statement::allow_unscoped(
                "JoinNetwork",
                [
                    "ec2:CreateNetworkInterface",
                    "ec2:DeleteNetworkInterface",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                ],
                "Lambda checks for them by no resource before it creates a function in a VPC",
            ),
        ];
        if self.environment.deployment.engine == Engine::Codedeploy {
            let application = self.names.environment_wide();
            let group = arn("codedeploy", format!("deploymentgroup:{application}/{}", self.names.service()));
            statements.push(Statement::allow("Answer", ["codedeploy:PutLifecycleEventHookExecutionStatus"], [group]));
        }
        if let Some(key) = self.key {
            statements.push(crate::keys::use_key(key));
        }
        statements.extend(own);
        role(name.to_owned(), "What a function of the deployment may do", "lambda.amazonaws.com", statements).except(
            Rule::Checkov("CKV_AWS_111"),
            "Network interfaces and traces have no resource that exists before the function runs",
        )
    }
}
