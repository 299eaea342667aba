//! The defects that are seeded.

/// A defect in a resource of a type (`#n` for another than the first).
pub(crate) struct Defect {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) change: Change,
}

/// What is done to the resource; values are JSON, paths begin at the resource.
pub(crate) enum Change {
    Set(&'static str, &'static str),
    Add(&'static str, &'static str),
    Remove(&'static str),
    Replace(&'static str, &'static str, &'static str),
}

use Change::{Add, Remove, Replace, Set};

const fn defect(name: &'static str, rule: &'static str, kind: &'static str, change: Change) -> Defect {
    Defect { name, rule, kind, change }
}

const TASK: &str = "AWS::ECS::TaskDefinition";
const SERVICE: &str = "AWS::ECS::Service";
const GROUP: &str = "AWS::ElasticLoadBalancingV2::TargetGroup";
const LISTENER: &str = "AWS::ElasticLoadBalancingV2::Listener";
const LISTENER_RULE: &str = "AWS::ElasticLoadBalancingV2::ListenerRule";
const BALANCER: &str = "AWS::ElasticLoadBalancingV2::LoadBalancer";
const DEPLOYMENT: &str = "AWS::CodeDeploy::DeploymentGroup";
const STEPS: &str = "AWS::CodeDeploy::DeploymentConfig";
const SCALING: &str = "AWS::ApplicationAutoScaling::ScalableTarget";
const POLICY: &str = "AWS::ApplicationAutoScaling::ScalingPolicy";
const PIPELINE: &str = "AWS::CodePipeline::Pipeline";
const BUILD: &str = "AWS::CodeBuild::Project";
const ROLE: &str = "AWS::IAM::Role";
const REPOSITORY: &str = "AWS::ECR::Repository";
const BUCKET: &str = "AWS::S3::Bucket";
const BUCKET_POLICY: &str = "AWS::S3::BucketPolicy";
const LOGS: &str = "AWS::Logs::LogGroup";
const FILTER: &str = "AWS::Logs::MetricFilter";
const TABLE: &str = "AWS::DynamoDB::Table";
const SECRET: &str = "AWS::SecretsManager::Secret";
const SUBNET: &str = "AWS::EC2::Subnet";
const SECURITY: &str = "AWS::EC2::SecurityGroup";
const ENDPOINT: &str = "AWS::EC2::VPCEndpoint";
const ROUTE: &str = "AWS::EC2::Route";
const ALARM: &str = "AWS::CloudWatch::Alarm";
const COMPOSITE: &str = "AWS::CloudWatch::CompositeAlarm";
const DASHBOARD: &str = "AWS::CloudWatch::Dashboard";
const TOPIC_POLICY: &str = "AWS::SNS::TopicPolicy";
const SUBSCRIPTION: &str = "AWS::SNS::Subscription";
const RULE: &str = "AWS::Events::Rule";
const MACHINE: &str = "AWS::StepFunctions::StateMachine";
const FUNCTION: &str = "AWS::Lambda::Function";

#[rustfmt::skip]
pub(crate) const DEFECTS: &[Defect] = &[
    // References.
    defect("a reference to nothing", "dangling-reference", SERVICE, Set("Properties/Cluster", r#"{"Ref":"Clustre"}"#)),
    defect("an attribute of nothing", "dangling-reference", DEPLOYMENT, Set("Properties/ServiceRoleArn", r#"{"Fn::GetAtt":["NoRole","Arn"]}"#)),
    defect("a text around nothing", "dangling-reference", SCALING, Set("Properties/ResourceId", r#"{"Fn::Sub":"service/${Nothing}/x"}"#)),
    defect("a dependency on nothing", "dangling-reference", SERVICE, Set("DependsOn", r#""Gone""#)),
    defect("an import of nothing", "dangling-import", GROUP, Set("Properties/VpcId", r#"{"Fn::ImportValue":"smartassist-network-prod-Vpc"}"#)),

    // Task definitions.
    defect("the tag latest", "image-tag", TASK, Set("Properties/ContainerDefinitions/0/Image", r#""1.dkr.ecr.ap-northeast-1.amazonaws.com/x:latest""#)),
    defect("no tag", "image-tag", TASK, Set("Properties/ContainerDefinitions/0/Image", r#""smartassist/chatbot""#)),
    defect("a tag that moves, inside Sub", "image-tag", TASK, Set("Properties/ContainerDefinitions/0/Image", r#"{"Fn::Sub":"${AWS::AccountId}.dkr.ecr/x:prod"}"#)),
    defect("a build image that moves", "image-tag", BUILD, Set("Properties/Environment/Image", r#""rust:latest""#)),
    defect("memory that Fargate does not pair", "task-size", TASK, Set("Properties/Memory", r#""4096""#)),
    defect("CPU that Fargate does not have", "task-size", TASK, Set("Properties/Cpu", r#""300""#)),
    defect("bridge network on Fargate", "network-mode", TASK, Set("Properties/NetworkMode", r#""bridge""#)),
    defect("a stop timeout above the limit", "stop-timeout", TASK, Set("Properties/ContainerDefinitions/0/StopTimeout", "300")),
    defect("a stop timeout below the drain", "drain-cut-off", TASK, Set("Properties/ContainerDefinitions/0/StopTimeout", "20")),
    defect("no stop timeout, a long drain", "drain-cut-off", TASK, Remove("Properties/ContainerDefinitions/0/StopTimeout")),
    defect("a container run as root", "root-user", TASK, Set("Properties/ContainerDefinitions/0/User", r#""0:0""#)),
    defect("a container without user", "root-user", TASK, Remove("Properties/ContainerDefinitions/0/User")),
    defect("a privileged container", "root-user", TASK, Set("Properties/ContainerDefinitions/0/Privileged", "true")),
    defect("a writable root", "writable-root", TASK, Set("Properties/ContainerDefinitions/0/ReadonlyRootFilesystem", "false")),
    defect("a health check by curl", "health-command", TASK, Set("Properties/ContainerDefinitions/0/HealthCheck/Command", r#"["CMD-SHELL","curl -f http://localhost:8080/health"]"#)),
    defect("a health check without CMD", "health-command", TASK, Set("Properties/ContainerDefinitions/0/HealthCheck/Command", r#"["/smartbot"]"#)),
    defect("a health check longer than its interval", "health-timing", TASK, Set("Properties/ContainerDefinitions/0/HealthCheck/Timeout", "50")),
    defect("eleven retries", "health-timing", TASK, Set("Properties/ContainerDefinitions/0/HealthCheck/Retries", "11")),
    defect("no log configuration", "log-options", TASK, Remove("Properties/ContainerDefinitions/0/LogConfiguration")),
    defect("no log stream prefix", "log-options", TASK, Remove("Properties/ContainerDefinitions/0/LogConfiguration/Options/awslogs-stream-prefix")),
    defect("a mount of no volume", "volume", TASK, Set("Properties/ContainerDefinitions/0/MountPoints/0/SourceVolume", r#""date""#)),
    defect("a variable twice", "container-names", TASK, Add("Properties/ContainerDefinitions/0/Environment", r#"{"Name":"ENVIRONMENT","Value":"other"}"#)),
    defect("no essential container", "essential-container", TASK, Set("Properties/ContainerDefinitions/0/Essential", "false")),
    defect("no execution role", "execution-role", TASK, Remove("Properties/ExecutionRoleArn")),

    // Secrets in plain text.
    defect("a secret in the container's environment", "plaintext-secret", TASK, Add("Properties/ContainerDefinitions/0/Environment", r#"{"Name":"LLM_API_KEY","Value":"abc123"}"#)),
    defect("a key behind an innocent name", "plaintext-secret", TASK, Add("Properties/ContainerDefinitions/0/Environment", r#"{"Name":"MODEL","Value":"sk-0123456789abcdef"}"#)),
    defect("a password inside a URL", "plaintext-secret", TASK, Add("Properties/ContainerDefinitions/0/Environment", r#"{"Name":"STORE","Value":"redis://app:hunter2@cache:6379"}"#)),
    defect("a secret resolved into the environment", "plaintext-secret", TASK, Add("Properties/ContainerDefinitions/0/Environment", r#"{"Name":"K","Value":"{{resolve:secretsmanager:x}}"}"#)),
    defect("a secret in a build's environment", "plaintext-secret", BUILD, Add("Properties/Environment/EnvironmentVariables", r#"{"Name":"DOCKERHUB_TOKEN","Value":"dckr_pat_x"}"#)),

    // Services and load balancers.
    defect("target type instance with awsvpc", "target-type", GROUP, Set("Properties/TargetType", r#""instance""#)),
    defect("target type left out", "target-type", GROUP, Remove("Properties/TargetType")),
    defect("target type instance in the second group", "target-type", "AWS::ElasticLoadBalancingV2::TargetGroup#1", Set("Properties/TargetType", r#""instance""#)),
    defect("another container's name", "container-name", SERVICE, Set("Properties/LoadBalancers/0/ContainerName", r#""chatbots""#)),
    defect("a port that no container has", "container-port", SERVICE, Set("Properties/LoadBalancers/0/ContainerPort", "80")),
    defect("a container that listens elsewhere", "container-port", TASK, Set("Properties/ContainerDefinitions/0/PortMappings/0/ContainerPort", "5000")),
    defect("a service that does not wait for its listener", "listener-first", SERVICE, Remove("DependsOn")),
    defect("tasks with public addresses", "public-task", SERVICE, Set("Properties/NetworkConfiguration/AwsvpcConfiguration/AssignPublicIp", r#""ENABLED""#)),
    defect("a load balancer in one zone", "single-zone", BALANCER, Set("Properties/Subnets", r#"[{"Fn::ImportValue":"smartassist-network-staging-PublicSubnet1"}]"#)),
    defect("targets that leave before they have drained", "drain-and-deregister", GROUP, Set("Properties/TargetGroupAttributes/0/Value", r#""5""#)),
    defect("a check slower than its interval", "target-health", GROUP, Set("Properties/HealthCheckTimeoutSeconds", "30")),
    defect("a check of another port", "target-health", GROUP, Set("Properties/HealthCheckPort", r#""9000""#)),
    defect("a check of no path", "target-health", GROUP, Set("Properties/HealthCheckPath", r#""health""#)),
    defect("two listeners on a port", "listener-port", LISTENER, Set("Properties/Port", "8443")),
    defect("HTTPS without certificate", "listener-tls", LISTENER, Remove("Properties/Certificates")),
    defect("an old TLS policy", "listener-tls", LISTENER, Set("Properties/SslPolicy", r#""ELBSecurityPolicy-2016-08""#)),
    defect("a listener that forwards to nobody", "forward-weights", LISTENER, Set("Properties/DefaultActions/0/ForwardConfig/TargetGroups/0/Weight", "0")),

    // Deployments.
    defect("the ECS controller under CodeDeploy", "deployment-controller", SERVICE, Set("Properties/DeploymentController/Type", r#""ECS""#)),
    defect("no CODE_DEPLOY controller", "deployment-controller", SERVICE, Remove("Properties/DeploymentController")),
    defect("one target group twice in a pair", "target-group-pair", DEPLOYMENT, Replace("Properties/LoadBalancerInfo", "GreenTargetGroup", "BlueTargetGroup")),
    defect("a pair of one", "target-group-pair", DEPLOYMENT, Remove("Properties/LoadBalancerInfo/TargetGroupPairInfoList/0/TargetGroups/1")),
    defect("tests on the production listener", "traffic-routes", DEPLOYMENT, Replace("Properties/LoadBalancerInfo", "TestListener", "ProductionListener")),
    defect("no automatic rollback", "automatic-rollback", DEPLOYMENT, Set("Properties/AutoRollbackConfiguration/Enabled", "false")),
    defect("alarms without rollback", "automatic-rollback", DEPLOYMENT, Replace("Properties/AutoRollbackConfiguration", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST")),
    defect("an in-place deployment", "deployment-style", DEPLOYMENT, Set("Properties/DeploymentStyle/DeploymentType", r#""IN_PLACE""#)),
    defect("a configuration for servers", "deployment-style", DEPLOYMENT, Set("Properties/DeploymentConfigName", r#""CodeDeployDefault.OneAtATime""#)),
    defect("a canary of everything", "traffic-steps", STEPS, Set("Properties/TrafficRoutingConfig/TimeBasedCanary/CanaryPercentage", "100")),
    defect("blue kept for three days", "traffic-steps", DEPLOYMENT, Set("Properties/BlueGreenDeploymentConfiguration/TerminateBlueInstancesOnDeploymentSuccess/TerminationWaitTimeInMinutes", "4320")),

    // Scaling.
    defect("the minimum above the maximum", "capacity-bounds", SCALING, Set("Properties/MinCapacity", "99")),
    defect("a schedule whose bounds are crossed", "capacity-bounds", SCALING, Add("Properties/ScheduledActions", r#"{"ScheduledActionName":"x","Schedule":"cron(0 0 ? * * *)","ScalableTargetAction":{"MinCapacity":5,"MaxCapacity":2}}"#)),
    defect("a start outside the bounds", "desired-count", SERVICE, Set("Properties/DesiredCount", "77")),
    defect("a cron of five fields", "schedule", SCALING, Add("Properties/ScheduledActions", r#"{"ScheduledActionName":"x","Schedule":"cron(0 9 * * MON-FRI)","ScalableTargetAction":{"MinCapacity":1}}"#)),
    defect("a cron with both days", "schedule", SCALING, Add("Properties/ScheduledActions", r#"{"ScheduledActionName":"x","Schedule":"cron(0 9 * * MON-FRI *)","ScalableTargetAction":{"MinCapacity":1}}"#)),
    defect("a time zone that is none", "time-zone", SCALING, Add("Properties/ScheduledActions", r#"{"ScheduledActionName":"x","Schedule":"rate(1 day)","Timezone":"JST"}"#)),
    defect("a level above 100 percent", "scaling-target", POLICY, Set("Properties/TargetTrackingScalingPolicyConfiguration/TargetValue", "150")),
    defect("scaling by one of two groups", "one-sided-metric", POLICY, Set("Properties/TargetTrackingScalingPolicyConfiguration/PredefinedMetricSpecification", r#"{"PredefinedMetricType":"ALBRequestCountPerTarget"}"#)),

    // Pipelines.
    defect("triggers without V2", "pipeline-v2", PIPELINE, Remove("Properties/PipelineType")),
    defect("a build among the sources", "source-stage", PIPELINE, Set("Properties/Stages/0/Actions/0/ActionTypeId/Category", r#""Build""#)),
    defect("a trigger of no source", "trigger-source", PIPELINE, Set("Properties/Triggers/0/GitConfiguration/SourceActionName", r#""Sauce""#)),
    defect("production without approval", "production-approval", PIPELINE, Remove("Properties/Stages/4")),
    defect("an approval before staging", "production-approval", PIPELINE, Replace("Properties/Stages", r#""Category":"Approval""#, r#""Category":"Invoke""#)),
    defect("an approval that is superseded", "superseded-approval", PIPELINE, Set("Properties/ExecutionMode", r#""SUPERSEDED""#)),
    defect("two stages of one name", "pipeline-names", PIPELINE, Set("Properties/Stages/3/Name", r#""Build""#)),
    defect("an artifact that nobody makes", "artifact-producer", PIPELINE, Set("Properties/Stages/1/Actions/0/InputArtifacts/0/Name", r#""Sources""#)),
    defect("an artifact that two make", "artifact-producer", PIPELINE, Set("Properties/Stages/1/Actions/0/OutputArtifacts/0/Name", r#""SourceOutput""#)),
    defect("an appspec from another artifact", "artifact-input", PIPELINE, Replace("Properties/Stages", r#""AppSpecTemplateArtifact":"BuildOutput""#, r#""AppSpecTemplateArtifact":"SourceOutput""#)),
    defect("a variable of no namespace", "pipeline-variable", PIPELINE, Remove("Properties/Stages/0/Actions/0/Namespace")),

    // Builds.
    defect("docker without privileged mode", "docker-without-privilege", BUILD, Set("Properties/Source/BuildSpec", r#""version: 0.2\nphases: {build: {commands: [docker build .]}}\n""#)),
    defect("a buildspec that is no YAML", "buildspec", BUILD, Set("Properties/Source/BuildSpec", r#""version: 0.2\n phases: [\n""#)),
    defect("a buildspec with an unknown phase", "buildspec", BUILD, Set("Properties/Source/BuildSpec", r#""version: 0.2\nphases: {compile: {commands: [make]}}\n""#)),
    defect("a build without logs", "build-logs", BUILD, Set("Properties/LogsConfig/CloudWatchLogs/Status", r#""DISABLED""#)),
    defect("a build of four minutes at most", "build-timeout", BUILD, Set("Properties/TimeoutInMinutes", "4")),

    // What holds data.
    defect("a lifecycle policy cut off", "image-lifecycle", REPOSITORY, Set("Properties/LifecyclePolicy/LifecyclePolicyText", r#""{\"rules\":[""#)),
    defect("tagged without tags", "image-lifecycle", REPOSITORY, Set("Properties/LifecyclePolicy/LifecyclePolicyText", r#""{\"rules\":[{\"rulePriority\":1,\"selection\":{\"tagStatus\":\"tagged\",\"countType\":\"imageCountMoreThan\",\"countNumber\":5},\"action\":{\"type\":\"expire\"}}]}""#)),
    defect("two rules of one priority", "image-lifecycle", REPOSITORY, Replace("Properties/LifecyclePolicy/LifecyclePolicyText", r#"\"rulePriority\":2"#, r#"\"rulePriority\":1"#)),
    defect("tags that move", "image-repository", REPOSITORY, Set("Properties/ImageTagMutability", r#""MUTABLE""#)),
    defect("images that nobody scans", "image-repository", REPOSITORY, Set("Properties/ImageScanningConfiguration/ScanOnPush", "false")),
    defect("a repository that goes with its stack", "stateful-retained", REPOSITORY, Remove("DeletionPolicy")),
    defect("a bucket that is replaced with all in it", "stateful-retained", BUCKET, Set("UpdateReplacePolicy", r#""Delete""#)),
    defect("a bucket that may become public", "public-bucket", BUCKET, Set("Properties/PublicAccessBlockConfiguration/BlockPublicPolicy", "false")),
    defect("a bucket without TLS", "plain-text-transport", BUCKET_POLICY, Set("Properties/PolicyDocument/Statement/0/Condition", r#"{"Bool":{"aws:SecureTransport":"true"}}"#)),
    defect("logs for ever", "log-retention", LOGS, Remove("Properties/RetentionInDays")),

    // IAM.
    defect("every action of a service", "wildcard-action", ROLE, Set("Properties/Policies/0/PolicyDocument/Statement/0/Action", r#"["ecs:*"]"#)),
    defect("all but a few actions", "wildcard-action", ROLE, Set("Properties/Policies/0/PolicyDocument/Statement/0/NotAction", r#"["iam:*"]"#)),
    defect("reading every secret", "wildcard-resource", ROLE, Add("Properties/Policies/0/PolicyDocument/Statement", r#"{"Effect":"Allow","Action":"secretsmanager:GetSecretValue","Resource":"*"}"#)),
    defect("passing any role", "pass-role", ROLE, Add("Properties/Policies/0/PolicyDocument/Statement", r#"{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}}"#)),
    defect("passing a role to anything", "pass-role", ROLE, Add("Properties/Policies/0/PolicyDocument/Statement", r#"{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::1:role/x"}"#)),
    defect("a role that anybody assumes", "public-principal", ROLE, Set("Properties/AssumeRolePolicyDocument/Statement/0/Principal", r#"{"AWS":"*"}"#)),
    defect("a role for everything", "managed-policy", ROLE, Set("Properties/ManagedPolicyArns", r#"["arn:aws:iam::aws:policy/AdministratorAccess"]"#)),
    defect("a statement without resource", "policy-document", ROLE, Remove("Properties/Policies/0/PolicyDocument/Statement/0/Resource")),

    // Network.
    defect("two subnets in one range", "subnet-range", "AWS::EC2::Subnet#1", Set("Properties/CidrBlock", r#""10.10.0.0/20""#)),
    defect("a subnet outside its VPC", "subnet-range", SUBNET, Set("Properties/CidrBlock", r#""192.168.0.0/24""#)),
    defect("every port open to the world", "open-ingress", SECURITY, Set("Properties/SecurityGroupIngress", r#"[{"IpProtocol":"-1","CidrIp":"0.0.0.0/0"}]"#)),
    defect("SSH open to the world", "open-ingress", SECURITY, Set("Properties/SecurityGroupIngress", r#"[{"IpProtocol":"tcp","FromPort":22,"ToPort":22,"CidrIp":"0.0.0.0/0"}]"#)),
    defect("tasks reached by address", "task-ingress", "AWS::EC2::SecurityGroup#1", Set("Properties/SecurityGroupIngress", r#"[{"IpProtocol":"tcp","FromPort":8080,"ToPort":8080,"CidrIp":"10.0.0.0/8"}]"#)),
    defect("everything out, unsaid", "explicit-egress", SECURITY, Remove("Properties/SecurityGroupEgress")),
    defect("a gateway endpoint without routes", "endpoint-reach", ENDPOINT, Remove("Properties/RouteTableIds")),
    defect("a route to nowhere", "route-target", ROUTE, Remove("Properties/GatewayId")),

    // Alarms, events, dashboards.
    defect("a period that is none", "alarm-timing", ALARM, Set("Properties/Period", "45")),
    defect("more datapoints than periods", "alarm-timing", ALARM, Set("Properties/DatapointsToAlarm", "9")),
    defect("an alarm that tells nobody", "silent-alarm", ALARM, Set("Properties/ActionsEnabled", "false")),
    defect("an alarm on no metric", "unknown-metric", ALARM, Replace("Properties/MetricName", "\"", "\"Un")),
    defect("an alarm on a metric that AWS does not have", "unknown-metric", ALARM, Replace("Properties/Metrics", "HTTPCode_Target_5XX_Count", "HTTPCode_5XX")),
    defect("an alarm on a metric that its workflow calls otherwise", "unknown-metric", MACHINE, Replace("Properties/Definition", r#""MetricName":"ApprovalsOverdue""#, r#""MetricName":"Approvals""#)),
    defect("a target group without its load balancer", "metric-dimension", ALARM, Replace("Properties/Metrics", r#""Name":"LoadBalancer""#, r#""Name":"TargetGroup""#)),
    defect("a dimension that AWS does not have", "metric-dimension", ALARM, Replace("Properties/Metrics", r#""Name":"LoadBalancer""#, r#""Name":"Balancer""#)),
    defect("an expression over nothing", "metric-math", ALARM, Replace("Properties/Metrics", r#""Id":"errors""#, r#""Id":"errs""#)),
    defect("two results", "metric-math", ALARM, Replace("Properties/Metrics", r#""ReturnData":false"#, r#""ReturnData":true"#)),
    defect("a pattern that is not closed", "metric-filter", FILTER, Set("Properties/FilterPattern", r#""{ $.level = \"ERROR\" ""#)),
    defect("an alarm over no alarm", "composite-alarm", COMPOSITE, Set("Properties/AlarmRule", r#""ALARM(\"no-such-alarm\")""#)),
    defect("a rule that is not closed", "composite-alarm", COMPOSITE, Set("Properties/AlarmRule", r#""(ALARM(\"0\")""#)),
    defect("a pager on plain HTTP", "subscription", SUBSCRIPTION, Set("Properties/Endpoint", r#""http://events.example.com""#)),
    defect("events that go nowhere", "event-rule", RULE, Set("Properties/Targets", "[]")),
    defect("a pattern that is no list", "event-rule", RULE, Set("Properties/EventPattern/source", r#""aws.codepipeline""#)),
    defect("a topic that EventBridge may not use", "topic-policy", TOPIC_POLICY, Replace("Properties/PolicyDocument", r#""events.amazonaws.com"},"Action":"sns:Publish""#, r#""sqs.amazonaws.com"},"Action":"sns:Publish""#)),
    defect("a dashboard that is no JSON", "dashboard", DASHBOARD, Set("Properties/DashboardBody", r#""{\"widgets\": [}""#)),
    defect("a dashboard wider than the screen", "dashboard", DASHBOARD, Set("Properties/DashboardBody", r#""{\"widgets\":[{\"type\":\"text\",\"x\":20,\"width\":12,\"properties\":{\"markdown\":\"x\"}}]}""#)),

    // What only the foreign template has so far, or has more simply.
    defect("a rule's priority twice", "rule-priority", LISTENER_RULE, Replace("Properties", r#""Priority":1,"Conditions":[{"Field":"path-pattern","Values":["/admin"]}]"#, r#""Priority":2,"Conditions":[]"#)),
    defect("plain HTTP beside HTTPS", "plain-http", "AWS::ElasticLoadBalancingV2::Listener", Replace("Properties/DefaultActions", r#""Type":"redirect""#, r#""Type":"forward""#)),
    defect("a table that cannot be brought back", "table-recovery", TABLE, Remove("Properties/PointInTimeRecoverySpecification")),
    defect("a key that is no attribute", "table-keys", TABLE, Set("Properties/KeySchema/0/AttributeName", r#""key""#)),
    defect("a secret's value in the template", "secret-value", SECRET, Set("Properties/SecretString", r#""hunter2""#)),
    defect("a hook that outlives CodeDeploy's wait", "hook-outlives-bake", "AWS::Lambda::Function#1", Set("Properties/Timeout", "900")),
    defect("a hook that outlives the bake", "hook-outlives-bake", FUNCTION, Replace("Properties", r#""Timeout":300"#, r#""Timeout":900"#)),
];
