//! The functions that try a new version: ValidateCanary before it takes production traffic, MonitorCanary once it
//! has all of it. CodeDeploy calls them by the appspec, ECS by the service's lifecycle hooks.

use environment::{Architecture, Engine, Environment, HookSettings, Project, Span};
use serde_json::{Value as Json, json};

use super::balancing::Balancer;
use super::url;
use crate::names::Names;
use crate::network::Imports;
use crate::policy::{Statement, role};
use crate::resources::iam::Role;
use crate::resources::lambda::Function as LambdaFunction;
use crate::resources::lambda::function::{
    Code, DeadLetterConfig, Environment as Variables, FunctionArchitecture, FunctionRuntime, LoggingConfig,
    TracingConfig, TracingConfigMode, VpcConfig,
};
use crate::resources::logs::LogGroup;
use crate::template::{Handle, Resource, Rule, Template, to_json};
use crate::value::{Intrinsic, arn};
use crate::{logs, service, sub};

/// MiB, the least that gives a function enough CPU for TLS.
const MEMORY: i64 = 256;

/// The functions and the role under which ECS calls them.
pub(super) struct Hooks {
    pub(super) validate: Handle<LambdaFunction>,
    pub(super) monitor: Handle<LambdaFunction>,
    pub(super) caller: Handle<Role>,
}

/// Where the code lies; whoever uploads another one gives its key when the stack is updated.
struct CodePlace {
    bucket: Intrinsic,
    key: Intrinsic,
}

pub(super) fn add(
    template: &mut Template,
    project: &Project,
    environment: &Environment,
    balancer: &Balancer,
    (key, alerts): (Option<Intrinsic>, Option<Intrinsic>),
) -> Option<Hooks> {
    let names = Names::new(project, environment.name);
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
    let hook = Hook {
        project,
        environment,
        names,
        balancer,
        settings,
        place: &place,
        key: key.as_ref(),
        alerts: alerts.as_ref(),
    };
    let validate = Function {
        id: "ValidateCanary",
        what: "validate",
        description: "Talks to a new version on the test listener",
        timeout: settings.timeout,
        statements: Vec::new(),
    };
    let watch = Statement::allow_unscoped(
        "Watch",
        ["cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData"],
        "CloudWatch reads metrics by no resource, and shows composite alarms with no narrower scope",
    );
    let monitor = Function {
        id: "MonitorCanary",
        what: "monitor",
        description: "Watches a new version that takes all traffic",
        timeout: settings.watch,
        statements: vec![watch],
    };
    let (validate, monitor) = (hook.add(template, validate), hook.add(template, monitor));
    let call = Statement::allow("CallHooks", ["lambda:InvokeFunction"], [validate.arn(), monitor.arn()]);
    let caller = role(names.hook("call"), "How ECS calls the deployment's functions", "ecs.amazonaws.com", vec![call]);
    let caller = template.add("HookCallerRole", caller);
    Some(Hooks { validate, monitor, caller })
}

/// What one function has of its own.
struct Function {
    id: &'static str,
    what: &'static str,
    description: &'static str,
    timeout: Span,
    statements: Vec<Statement>,
}

/// What both functions share.
struct Hook<'a> {
    project: &'a Project,
    environment: &'a Environment,
    names: Names<'a>,
    balancer: &'a Balancer,
    settings: &'a HookSettings,
    place: &'a CodePlace,
    key: Option<&'a Intrinsic>,
    /// The topic that hears of a call which failed: then a deployment waits for an answer that never comes.
    alerts: Option<&'a Intrinsic>,
}

impl Hook<'_> {
    fn add(&self, template: &mut Template, function: Function) -> Handle<LambdaFunction> {
        let Function { id, what, description, timeout, statements } = function;
        let name = self.names.hook(what);
        let logs = logs::group(format!("/aws/lambda/{name}"), self.environment.log_retention(), self.key.cloned());
        let logs = template.add(format!("{id}Logs"), logs);
        let role = template.add(format!("{id}Role"), self.role(&name, &logs, statements));
        let network = Imports(self.names);
        let subnets = (1..=self.environment.network.zones).map(|zone| network.private_subnet(zone).into());
        let architecture = match self.settings.architecture {
            Architecture::X86_64 => FunctionArchitecture::X8664,
            Architecture::Arm64 => FunctionArchitecture::Arm64,
        };
        let seconds = i64::try_from(timeout.as_seconds()).unwrap_or(i64::MAX);
        let function = LambdaFunction {
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
            dead_letter_config: self.alerts.map(|topic| DeadLetterConfig { target_arn: Some(topic.clone().into()) }),
            tracing_config: Some(TracingConfig { mode: Some(TracingConfigMode::Active.into()) }),
            vpc_config: Some(VpcConfig {
                security_group_ids: Some(vec![network.hook_group().into()]),
                subnet_ids: Some(subnets.collect()),
                ..VpcConfig::default()
            }),
            ..LambdaFunction::new(
                Code {
                    s3_bucket: Some(self.place.bucket.clone().into()),
                    s3_key: Some(self.place.key.clone().into()),
                    ..Code::default()
                },
                role.arn(),
            )
        };
        let unheard = "Nobody asked for alarms; a deployment waits for its answer and fails without one";
        let signed = "The bucket of the code is the release process's own; the key names the commit it was built from";
        let mut resource = Resource::new(function).except(Rule::Checkov("CKV_AWS_272"), signed);
        if self.alerts.is_none() {
            resource = resource.except(Rule::Checkov("CKV_AWS_116"), unheard);
        }
        template.add(id, resource)
    }

    /// Where the new version answers, how often it is asked, and what tells that it does not do well. These are the
    /// variables of `canary::settings::VARIABLES`; a test there compares.
    fn variables(&self) -> Json {
        let Hook { environment, balancer, .. } = self;
        let address = |port| to_json(&url(environment, balancer.load_balancer.dns_name(), port));
        let mut alarms = service::gates(environment, self.names);
        alarms.extend(environment.deployment.alarms.iter().cloned());
        let groups = [balancer.blue.target_group_full_name(), balancer.green.target_group_full_name()];
        let [blue, green] = groups;
        let limits = environment.alarms.clone().unwrap_or_default();
        json!({
            "TEST_URL": address(environment.edge.test_port),
            "PRODUCTION_URL": address(environment.edge.port),
            "CONVERSATIONS": self.settings.conversations.to_string(),
            "ALARMS": alarms.join(","),
            "LOAD_BALANCER": balancer.load_balancer.load_balancer_full_name(),
            "TARGET_GROUPS": sub![blue, ",", green],
            "ERROR_PERCENT": limits.error_percent.to_string(),
            "LATENCY_SECONDS": limits.latency_p99.as_seconds().to_string(),
        })
    }

    /// How a function learns which commit is deployed, and answers: from the deployment to its image, and the image's tag.
    fn which_version(&self) -> Vec<Statement> {
        let (application, service) = (self.names.environment_wide(), self.names.service());
        let repository = arn("ecr", format!("repository/{}", self.project.image_repository));
        let tags = Statement::allow("ReadTags", ["ecr:DescribeImages"], [repository]);
        match self.environment.deployment.engine {
            Engine::Codedeploy => {
                let group = arn("codedeploy", format!("deploymentgroup:{application}/{service}"));
                let answer = ["codedeploy:GetDeployment", "codedeploy:PutLifecycleEventHookExecutionStatus"];
                let definition = Statement::allow_unscoped(
                    "ReadTaskDefinition",
                    ["ecs:DescribeTaskDefinition"],
                    "ECS has no resource for reading task definitions",
                );
                vec![Statement::allow("Answer", answer, [group]), definition, tags]
            }
            Engine::Ecs => {
                // AWS's lists of actions name the service, and the call an ARN of its revision.
                let path = format!("{application}/{service}");
                let either =
                    [format!("service/{path}"), format!("service-revision/{path}/*")].map(|name| arn("ecs", name));
                vec![Statement::allow("ReadRevision", ["ecs:DescribeServiceRevisions"], either), tags]
            }
        }
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
        statements.extend(self.which_version());
        statements.extend(self.alerts.map(|topic| Statement::allow("TellFailures", ["sns:Publish"], [topic.clone()])));
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
