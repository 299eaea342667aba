"""The peer of `cargo bench`: network, service and registry of one environment in troposphere. Prints its times."""

import json
import sys
import time

from troposphere import GetAtt, Output, Ref, Sub, Template
from troposphere import applicationautoscaling as scaling
from troposphere import cloudwatch, codebuild, codedeploy, ec2, ecr, ecs, iam, logs
from troposphere import elasticloadbalancingv2 as elb


def network(template):
    add = template.add_resource
    vpc = add(ec2.VPC("Vpc", CidrBlock="10.20.0.0/16", EnableDnsHostnames=True, EnableDnsSupport=True))
    gateway = add(ec2.InternetGateway("Gateway"))
    add(ec2.VPCGatewayAttachment("Attachment", VpcId=Ref(vpc), InternetGatewayId=Ref(gateway)))
    public = add(ec2.RouteTable("PublicTable", VpcId=Ref(vpc)))
    add(ec2.Route("PublicRoute", RouteTableId=Ref(public), DestinationCidrBlock="0.0.0.0/0", GatewayId=Ref(gateway)))
    subnets = []
    for zone in range(3):
        for kind in ("Public", "Private"):
            block = f"10.20.{zone * 32 + (16 if kind == 'Private' else 0)}.0/20"
            subnet = add(ec2.Subnet(f"{kind}{zone}", VpcId=Ref(vpc), CidrBlock=block))
            subnets.append(subnet)
            table = public if kind == "Public" else add(ec2.RouteTable(f"Table{zone}", VpcId=Ref(vpc)))
            add(ec2.SubnetRouteTableAssociation(f"{kind}{zone}Routes", SubnetId=Ref(subnet), RouteTableId=Ref(table)))
        address = add(ec2.EIP(f"Address{zone}", Domain="vpc"))
        nat = add(ec2.NatGateway(f"Nat{zone}", SubnetId=Ref(subnets[-2]), AllocationId=GetAtt(address, "AllocationId")))
        add(ec2.Route(f"Route{zone}", RouteTableId=Ref(table), DestinationCidrBlock="0.0.0.0/0", NatGatewayId=Ref(nat)))
    balancer = add(ec2.SecurityGroup("BalancerGroup", GroupDescription="in", VpcId=Ref(vpc), SecurityGroupIngress=[
        ec2.SecurityGroupRule(IpProtocol="tcp", FromPort=443, ToPort=443, CidrIp="0.0.0.0/0")]))
    tasks = add(ec2.SecurityGroup("TaskGroup", GroupDescription="tasks", VpcId=Ref(vpc), SecurityGroupIngress=[
        ec2.SecurityGroupRule(IpProtocol="tcp", FromPort=8080, ToPort=8080, SourceSecurityGroupId=Ref(balancer))]))
    return vpc, subnets, balancer, tasks


def role(name, service, actions):
    statement = {"Effect": "Allow", "Action": actions, "Resource": Sub("arn:${AWS::Partition}:ecs:${AWS::Region}:*:x")}
    return iam.Role(name, Policies=[iam.Policy(PolicyName="own", PolicyDocument={"Version": "2012-10-17", "Statement": [statement]})],
                    AssumeRolePolicyDocument={"Version": "2012-10-17", "Statement": [
                        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]})


def service(template, vpc, subnets, balancer_group, task_group):
    add = template.add_resource
    group = add(logs.LogGroup("Logs", RetentionInDays=30))
    cluster = add(ecs.Cluster("Cluster"))
    execution = add(role("Execution", "ecs-tasks.amazonaws.com", ["ecr:BatchGetImage"]))
    task_role = add(role("Task", "ecs-tasks.amazonaws.com", ["ssm:GetParameters"]))
    deploy_role = add(role("Deploy", "codedeploy.amazonaws.com", ["ecs:CreateTaskSet"]))
    balancer = add(elb.LoadBalancer("Balancer", Subnets=[Ref(subnet) for subnet in subnets[::2]], SecurityGroups=[Ref(balancer_group)]))
    groups = [add(elb.TargetGroup(colour, TargetType="ip", Port=8080, Protocol="HTTP", VpcId=Ref(vpc), HealthCheckPath="/health",
                                  HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2)) for colour in ("Blue", "Green")]
    listeners = [add(elb.Listener(name, LoadBalancerArn=Ref(balancer), Port=port, Protocol="HTTP", DefaultActions=[
        elb.Action(Type="forward", TargetGroupArn=Ref(groups[0]))])) for name, port in (("Production", 80), ("Test", 8080))]
    container = ecs.ContainerDefinition(
        Name="chatbot", Image="chatbot@sha256:0", Essential=True, User="10001", ReadonlyRootFilesystem=True, StopTimeout=60,
        PortMappings=[ecs.PortMapping(ContainerPort=8080)],
        Environment=[ecs.Environment(Name=f"V{index}", Value="x") for index in range(5)],
        LogConfiguration=ecs.LogConfiguration(LogDriver="awslogs", Options={"awslogs-group": Ref(group)}))
    definition = add(ecs.TaskDefinition("Definition", Cpu="256", Memory="512", NetworkMode="awsvpc", RequiresCompatibilities=["FARGATE"],
                                        ExecutionRoleArn=GetAtt(execution, "Arn"), TaskRoleArn=GetAtt(task_role, "Arn"),
                                        ContainerDefinitions=[container]))
    running = add(ecs.Service(
        "Service", Cluster=Ref(cluster), TaskDefinition=Ref(definition), DesiredCount=2, LaunchType="FARGATE",
        DependsOn=[listener.title for listener in listeners],
        LoadBalancers=[ecs.LoadBalancer(ContainerName="chatbot", ContainerPort=8080, TargetGroupArn=Ref(groups[0]))],
        NetworkConfiguration=ecs.NetworkConfiguration(AwsvpcConfiguration=ecs.AwsvpcConfiguration(
            Subnets=[Ref(subnet) for subnet in subnets[1::2]], SecurityGroups=[Ref(task_group)]))))
    application = add(codedeploy.Application("Application", ComputePlatform="ECS"))
    add(codedeploy.DeploymentGroup(
        "Deployments", ApplicationName=Ref(application), ServiceRoleArn=GetAtt(deploy_role, "Arn"),
        ECSServices=[codedeploy.ECSService(ClusterName=Ref(cluster), ServiceName=GetAtt(running, "Name"))]))
    target = add(scaling.ScalableTarget("Scaling", MinCapacity=2, MaxCapacity=10, ResourceId=Sub("service/${Cluster}/${Service.Name}"),
                                        ScalableDimension="ecs:service:DesiredCount", ServiceNamespace="ecs"))
    for metric in ("CPU", "Memory"):
        add(scaling.ScalingPolicy(f"{metric}Policy", PolicyName=metric, PolicyType="TargetTrackingScaling", ScalingTargetId=Ref(target),
                                  TargetTrackingScalingPolicyConfiguration=scaling.TargetTrackingScalingPolicyConfiguration(
                                      TargetValue=60.0, PredefinedMetricSpecification=scaling.PredefinedMetricSpecification(
                                          PredefinedMetricType=f"ECSServiceAverage{metric}Utilization"))))
    for index in range(8):
        add(cloudwatch.Alarm(f"Alarm{index}", Namespace="AWS/ECS", MetricName="CPUUtilization", Statistic="Average", Period=60,
                             EvaluationPeriods=3, Threshold=90, ComparisonOperator="GreaterThanThreshold",
                             Dimensions=[cloudwatch.MetricDimension(Name="ClusterName", Value=Ref(cluster))]))
    template.add_output(Output("Url", Value=GetAtt(balancer, "DNSName")))


def registry(template):
    add = template.add_resource
    add(ecr.Repository("Repository", ImageTagMutability="IMMUTABLE"))
    builder = add(role("Builder", "codebuild.amazonaws.com", ["ecr:PutImage"]))
    add(codebuild.Project("Build", ServiceRole=GetAtt(builder, "Arn"), Artifacts=codebuild.Artifacts(Type="NO_ARTIFACTS"),
                          Source=codebuild.Source(Type="NO_SOURCE", BuildSpec="version: 0.2"),
                          Environment=codebuild.Environment(ComputeType="BUILD_GENERAL1_SMALL", Image="rust:1.95", Type="LINUX_CONTAINER")))


def synthesize():
    template = Template()
    service(template, *network(template))
    registry(template)
    return template.to_json(indent=None)


def main():
    runs = int(sys.argv[1])
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        text = synthesize()
        times.append((time.perf_counter() - start) * 1000)
    print(json.dumps({"resources": len(json.loads(text)["Resources"]), "milliseconds": sorted(times)[len(times) // 2]}))


main()
