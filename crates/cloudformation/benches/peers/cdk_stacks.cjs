// The peer of `cargo bench`: network, service and registry of one environment in the CDK. Prints its times.
const cdk = require("aws-cdk-lib");
const ec2 = require("aws-cdk-lib/aws-ec2");
const ecs = require("aws-cdk-lib/aws-ecs");
const ecr = require("aws-cdk-lib/aws-ecr");
const elb = require("aws-cdk-lib/aws-elasticloadbalancingv2");
const codebuild = require("aws-cdk-lib/aws-codebuild");
const codedeploy = require("aws-cdk-lib/aws-codedeploy");
const cloudwatch = require("aws-cdk-lib/aws-cloudwatch");
const { mkdtempSync, rmSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

function synthesize(outdir) {
  const app = new cdk.App({ outdir });
  const stack = new cdk.Stack(app, "Service");
  const vpc = new ec2.Vpc(stack, "Vpc", { availabilityZones: ["a", "b", "c"], natGateways: 3 });
  const cluster = new ecs.Cluster(stack, "Cluster", { vpc });
  const definition = new ecs.FargateTaskDefinition(stack, "Definition", { cpu: 256, memoryLimitMiB: 512 });
  definition.addContainer("chatbot", {
    image: ecs.ContainerImage.fromRegistry("chatbot:1"),
    portMappings: [{ containerPort: 8080 }],
    environment: { A: "x", B: "x", C: "x", D: "x", E: "x" },
    readonlyRootFilesystem: true,
    user: "10001",
    logging: ecs.LogDrivers.awsLogs({ streamPrefix: "chatbot" }),
  });
  const service = new ecs.FargateService(stack, "Service_", {
    cluster,
    taskDefinition: definition,
    desiredCount: 2,
    deploymentController: { type: ecs.DeploymentControllerType.CODE_DEPLOY },
  });
  const balancer = new elb.ApplicationLoadBalancer(stack, "Balancer", { vpc, internetFacing: true });
  const group = (name) => new elb.ApplicationTargetGroup(stack, name, { vpc, port: 8080, protocol: "HTTP", targetType: "ip" });
  const [blue, green] = [group("Blue"), group("Green")];
  const production = balancer.addListener("Production", { port: 80, protocol: "HTTP", defaultTargetGroups: [blue] });
  const test = balancer.addListener("Test", { port: 8080, protocol: "HTTP", defaultTargetGroups: [green] });
  service.attachToApplicationTargetGroup(blue);
  new codedeploy.EcsDeploymentGroup(stack, "Deployments", {
    service,
    blueGreenDeploymentConfig: { blueTargetGroup: blue, greenTargetGroup: green, listener: production, testListener: test },
  });
  const scaling = service.autoScaleTaskCount({ minCapacity: 2, maxCapacity: 10 });
  scaling.scaleOnCpuUtilization("Cpu", { targetUtilizationPercent: 60 });
  scaling.scaleOnMemoryUtilization("Memory", { targetUtilizationPercent: 70 });
  for (let index = 0; index < 8; index++) {
    new cloudwatch.Alarm(stack, `Alarm${index}`, {
      metric: service.metricCpuUtilization(), threshold: 90, evaluationPeriods: 3,
    });
  }
  const repository = new ecr.Repository(stack, "Repository", { imageTagMutability: ecr.TagMutability.IMMUTABLE });
  const build = new codebuild.Project(stack, "Build", {
    buildSpec: codebuild.BuildSpec.fromObject({ version: "0.2", phases: { build: { commands: ["make"] } } }),
  });
  repository.grantPullPush(build);
  return Object.keys(app.synth().getStackByName("Service").template.Resources).length;
}

const runs = Number(process.argv[2]);
const outdir = mkdtempSync(join(tmpdir(), "cdk-"));
const times = [];
let resources = 0;
for (let run = 0; run < runs; run++) {
  const start = process.hrtime.bigint();
  resources = synthesize(outdir);
  times.push(Number(process.hrtime.bigint() - start) / 1e6);
}
rmSync(outdir, { recursive: true });
times.sort((a, b) => a - b);
console.log(JSON.stringify({ resources, milliseconds: times[Math.floor(times.length / 2)] }));
