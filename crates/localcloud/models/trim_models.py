#!/usr/bin/env python3
"""Writes the trimmed AWS service models beside this script from an installed botocore.

    python3 crates/localcloud/models/trim_models.py           write models/*.json and models/NOTICE
    python3 crates/localcloud/models/trim_models.py --check   exit 1 when a file is out of date

The models are botocore's own `service-2.json` files, reduced to the operations below, the shapes these
reach, and the fields the wire codec reads. Every level keeps a list of fields of its own, so a *member*
that happens to be called `auth` or `documentation` is never mistaken for a field of the model.
"""

import json
import pathlib
import sys

import botocore
import botocore.session

HERE = pathlib.Path(__file__).resolve().parent

OPERATIONS = {
    "sts": "GetCallerIdentity AssumeRole",
    "cloudformation": """
        CreateStack UpdateStack DeleteStack DescribeStacks ListStacks DescribeStackEvents
        DescribeStackResource DescribeStackResources ListStackResources
        CreateChangeSet DescribeChangeSet ExecuteChangeSet DeleteChangeSet ListChangeSets
        GetTemplate GetTemplateSummary ValidateTemplate ListExports UpdateTerminationProtection
        ContinueUpdateRollback CancelUpdateStack""",
    "ecr": """
        GetAuthorizationToken CreateRepository DescribeRepositories DeleteRepository
        DescribeImages BatchGetImage PutImage ListImages BatchDeleteImage
        BatchCheckLayerAvailability InitiateLayerUpload UploadLayerPart CompleteLayerUpload
        GetDownloadUrlForLayer StartImageScan DescribeImageScanFindings
        PutImageScanningConfiguration PutImageTagMutability
        PutLifecyclePolicy GetLifecyclePolicy DeleteLifecyclePolicy
        TagResource UntagResource ListTagsForResource""",
    "ecs": """
        CreateCluster DescribeClusters ListClusters DeleteCluster
        RegisterTaskDefinition DescribeTaskDefinition ListTaskDefinitions
        ListTaskDefinitionFamilies DeregisterTaskDefinition
        CreateService DescribeServices UpdateService DeleteService ListServices
        ListTasks DescribeTasks RunTask StopTask
        ListServiceDeployments DescribeServiceDeployments DescribeServiceRevisions
        StopServiceDeployment ContinueServiceDeployment
        CreateTaskSet DescribeTaskSets UpdateTaskSet DeleteTaskSet UpdateServicePrimaryTaskSet
        TagResource UntagResource ListTagsForResource""",
    "elbv2": """
        CreateLoadBalancer DescribeLoadBalancers DeleteLoadBalancer
        DescribeLoadBalancerAttributes ModifyLoadBalancerAttributes
        CreateTargetGroup DescribeTargetGroups ModifyTargetGroup DeleteTargetGroup
        DescribeTargetGroupAttributes ModifyTargetGroupAttributes
        CreateListener DescribeListeners ModifyListener DeleteListener
        DescribeListenerAttributes ModifyListenerAttributes
        CreateRule DescribeRules ModifyRule DeleteRule SetRulePriorities
        RegisterTargets DeregisterTargets DescribeTargetHealth
        AddTags RemoveTags DescribeTags""",
    "codebuild": """
        CreateProject BatchGetProjects UpdateProject DeleteProject ListProjects
        StartBuild BatchGetBuilds StopBuild ListBuilds ListBuildsForProject RetryBuild""",
    "codepipeline": """
        CreatePipeline GetPipeline UpdatePipeline DeletePipeline ListPipelines
        StartPipelineExecution StopPipelineExecution GetPipelineState GetPipelineExecution
        ListPipelineExecutions ListActionExecutions PutApprovalResult
        RetryStageExecution RollbackStage DisableStageTransition EnableStageTransition
        ListDeployActionExecutionTargets""",
    "codedeploy": """
        CreateApplication GetApplication ListApplications DeleteApplication
        CreateDeploymentGroup GetDeploymentGroup ListDeploymentGroups UpdateDeploymentGroup
        DeleteDeploymentGroup CreateDeploymentConfig GetDeploymentConfig ListDeploymentConfigs
        DeleteDeploymentConfig CreateDeployment GetDeployment BatchGetDeployments ListDeployments
        ListDeploymentTargets GetDeploymentTarget BatchGetDeploymentTargets
        ContinueDeployment StopDeployment PutLifecycleEventHookExecutionStatus""",
    "logs": """
        CreateLogGroup DescribeLogGroups DeleteLogGroup PutRetentionPolicy DeleteRetentionPolicy
        CreateLogStream DescribeLogStreams DeleteLogStream
        PutLogEvents GetLogEvents FilterLogEvents
        TagResource UntagResource ListTagsForResource""",
    "cloudwatch": """
        PutMetricAlarm DescribeAlarms DescribeAlarmsForMetric DeleteAlarms SetAlarmState
        DescribeAlarmHistory EnableAlarmActions DisableAlarmActions
        PutMetricData GetMetricData GetMetricStatistics ListMetrics
        PutDashboard GetDashboard ListDashboards DeleteDashboards""",
    "ssm": """
        PutParameter GetParameter GetParameters GetParametersByPath DescribeParameters
        DeleteParameter DeleteParameters AddTagsToResource ListTagsForResource""",
    "secretsmanager": """
        CreateSecret DescribeSecret GetSecretValue PutSecretValue UpdateSecret ListSecrets
        DeleteSecret TagResource""",
    "application-autoscaling": """
        RegisterScalableTarget DescribeScalableTargets DeregisterScalableTarget
        PutScalingPolicy DescribeScalingPolicies DeleteScalingPolicy
        PutScheduledAction DescribeScheduledActions DeleteScheduledAction
        DescribeScalingActivities""",
    "codeconnections": "CreateConnection GetConnection ListConnections DeleteConnection",
    "sns": """
        CreateTopic DeleteTopic GetTopicAttributes SetTopicAttributes ListTopics
        Subscribe Unsubscribe ListSubscriptionsByTopic Publish""",
    "iam": """
        CreateRole GetRole DeleteRole AttachRolePolicy DetachRolePolicy
        PutRolePolicy GetRolePolicy DeleteRolePolicy""",
}

METADATA_FIELDS = [
    "apiVersion", "awsQueryCompatible", "jsonVersion", "protocol", "protocols",
    "serviceFullName", "targetPrefix", "xmlNamespace",
]
REFERENCE_FIELDS = [
    "shape", "locationName", "flattened", "resultWrapper", "timestampFormat",
]
SHAPE_FIELDS = [
    "type", "required", "enum", "min", "max", "pattern", "flattened", "timestampFormat",
    "union", "document", "error", "exception",
]

NOTICE = """\
The JSON files in this folder are derived from the service models of botocore {version}
(https://github.com/boto/botocore), Copyright Amazon.com, Inc. or its affiliates,
licensed under the Apache License, Version 2.0 (LICENSE-APACHE at the top of this repository).

Changes: reduced by trim_models.py to the operations the embedded endpoint may answer, the shapes
they reach and the fields its wire codec reads; documentation is removed.
"""


def keep(source, fields):
    return {field: source[field] for field in fields if field in source}


def reference(source):
    return keep(source, REFERENCE_FIELDS)


def trim_shape(source):
    shape = keep(source, SHAPE_FIELDS)
    if "members" in source:
        shape["members"] = {name: reference(member) for name, member in source["members"].items()}
    for field in ("member", "key", "value"):
        if field in source:
            shape[field] = reference(source[field])
    return shape


def trim_operation(source):
    operation = {field: reference(source[field]) for field in ("input", "output") if field in source}
    operation["errors"] = [error["shape"] for error in source.get("errors", [])]
    return operation


def reachable(description, operations):
    """Names of the shapes that the operations use, directly or through members."""
    pending = []
    for operation in operations.values():
        pending += [operation[field]["shape"] for field in ("input", "output") if field in operation]
        pending += operation["errors"]
    seen = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        shape = description["shapes"][name]
        pending += [member["shape"] for member in shape.get("members", {}).values()]
        pending += [shape[field]["shape"] for field in ("member", "key", "value") if field in shape]
    return sorted(seen)


def trim(description, names):
    operations = {name: trim_operation(description["operations"][name]) for name in sorted(names)}
    return {
        "metadata": keep(description["metadata"], METADATA_FIELDS),
        "operations": operations,
        "shapes": {
            name: trim_shape(description["shapes"][name]) for name in reachable(description, operations)
        },
    }


def render(model):
    """One operation and one shape a line: small, and a changed shape is a changed line."""

    def compact(value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=True)

    def table(entries):
        return ",\n".join(f"{compact(name)}:{compact(entry)}" for name, entry in entries.items())

    return (
        f'{{"metadata":{compact(model["metadata"])},\n'
        f'"operations":{{\n{table(model["operations"])}\n}},\n'
        f'"shapes":{{\n{table(model["shapes"])}\n}}}}\n'
    )


def files():
    loader = botocore.session.get_session().get_component("data_loader")
    for service, names in OPERATIONS.items():
        description = loader.load_service_model(service, "service-2")
        yield HERE / f"{service}.json", render(trim(description, names.split()))
    yield HERE / "NOTICE", NOTICE.format(version=botocore.__version__)


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for path, content in files():
        if check:
            if not path.exists() or path.read_text() != content:
                stale.append(path.name)
        else:
            path.write_text(content)
    if stale:
        print(
            f"error: out of date against botocore {botocore.__version__}: {', '.join(stale)}\n"
            "hint: run `python3 crates/localcloud/models/trim_models.py`",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
