"""Seeded defects that foreign validators must find; those of our own checks are in the tests of cloudformation and gitops."""

import copy
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

import templates as gate

# validator, rule that must speak, resource type, path below the resource, new value (REMOVE takes it away)
REMOVE = object()
STATEMENT = "Properties/Policies/0/PolicyDocument/Statement/0"
CONTAINER = "Properties/ContainerDefinitions/0"
DEFECTS = [
    ("cfn_lint", "E3002", "AWS::ECR::Repository", "Properties/ImageTagMutabilty", "IMMUTABLE"),
    ("cfn_lint", "E3030", "AWS::Logs::LogGroup", "Properties/RetentionInDays", 17),
    ("cfn_lint", "E3003", "AWS::EC2::Subnet", "Properties/VpcId", REMOVE),
    ("cfn_lint", "E3012", "AWS::EC2::VPC", "Properties/EnableDnsSupport", "perhaps"),
    ("cfn_lint", "E1010", "AWS::S3::BucketPolicy", "Properties/Bucket", {"Fn::GetAtt": ["ArtifactBucket", "Nmae"]}),
    ("cfn_lint", "E3006", "AWS::EC2::InternetGateway", "Type", "AWS::EC2::InternetGatway"),
    ("cfn_lint", "E3016", "AWS::ECR::Repository", "UpdatePolicy", {"AutoScalingRollingUpdat": {}}),
    ("checkov", "CKV_AWS_136", "AWS::ECR::Repository", "Properties/EncryptionConfiguration", REMOVE),
    ("checkov", "CKV_AWS_163", "AWS::ECR::Repository", "Properties/ImageScanningConfiguration/ScanOnPush", False),
    ("checkov", "CKV_AWS_65", "AWS::ECS::Cluster", "Properties/ClusterSettings/0/Value", "disabled"),
    ("checkov", "CKV_AWS_53", "AWS::S3::Bucket", "Properties/PublicAccessBlockConfiguration/BlockPublicAcls", False),
    ("checkov", "CKV_AWS_21", "AWS::S3::Bucket", "Properties/VersioningConfiguration", REMOVE),
    (
        "checkov",
        "CKV_AWS_24",
        "AWS::EC2::SecurityGroup",
        "Properties/SecurityGroupIngress",
        [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0", "Description": "x"}],
    ),
    ("cfn_guard", "CT.ECS.PR.11", "AWS::ECS::TaskDefinition", f"{CONTAINER}/Privileged", True),
    ("cfn_guard", "CT.ECR.PR.3", "AWS::ECR::Repository", "Properties/ImageTagMutability", "MUTABLE"),
    ("parliament", "UNKNOWN_ACTION", "AWS::IAM::Role", f"{STATEMENT}/Action", ["ecs:UpdateServices"]),
    ("parliament", "RESOURCE_MISMATCH", "AWS::IAM::Role", f"{STATEMENT}", {
        "Sid": "X", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::bucket-without-objects"]}),
    ("parliament", "UNKNOWN_PREFIX", "AWS::IAM::Role", f"{STATEMENT}/Action", ["ecss:RunTask"]),
    ("task_definitions", "RegisterTaskDefinition", "AWS::ECS::TaskDefinition", f"{CONTAINER}/PortMaping", []),
    ("task_definitions", "RegisterTaskDefinition", "AWS::ECS::TaskDefinition", f"{CONTAINER}/StopTimeout", "a minute"),
    ("task_definitions", "RegisterTaskDefinition", "AWS::ECS::TaskDefinition", "Properties/ContainerDefinitions", REMOVE),
]


# What is wrong with a document of the production overlay: validator, kind, path, new value.
KUBERNETES_DEFECTS = [
    ("kubernetes_schema", "Deployment", "spec/replica", 2),
    ("kubernetes_schema", "Deployment", "spec/selector", REMOVE),
    ("kubernetes_schema", "Deployment", "spec/template/spec/containers/0/imagePulPolicy", "Always"),
    ("kubernetes_schema", "Deployment", "spec/template/spec/containers/0/ports/0/containerPort", "http"),
    ("kubernetes_schema", "Service", "spec/ports/0/port", "eighty"),
    ("kubernetes_schema", "HorizontalPodAutoscaler", "apiVersion", "autoscaling/v2beta2"),
    ("kubernetes_schema", "HorizontalPodAutoscaler", "spec/maxReplicas", REMOVE),
    ("kubernetes_schema", "PodDisruptionBudget", "apiVersion", "policy/v1beta1"),
    ("kubernetes_schema", "Ingress", "spec/rules/0/http/paths/0/pathType", REMOVE),
    ("kubernetes_schema", "NetworkPolicy", "spec/egres", []),
    ("custom_kind", "Application", "spec/syncPolicy/automated/selfheal", True),
    ("custom_kind", "Application", "spec/destination", REMOVE),
]
# What is wrong with the production overlay's kustomization: field, new value.
KUSTOMIZE_DEFECTS = [
    ("resources", ["../../manifests", "missing.yaml"]),
    ("resources", ["../../manifests", "../../manifests"]),
    ("components", ["images"]),
    ("resource", ["../../manifests"]),
]


def put(document, path, value):
    *parents, last = path.split("/")
    place = document
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    last = int(last) if isinstance(place, list) else last
    if value is REMOVE:
        del place[last]
    else:
        place[last] = value


def kubernetes_missed(folder):
    """Seeded defects of Kubernetes documents that their validators do not find."""
    rendered = gate.overlays()
    documents = rendered["production"] + rendered["smartassist-chatbot.yaml"]
    for validator, kind, path, value in KUBERNETES_DEFECTS:
        mutant = copy.deepcopy(next(document for document in documents if document["kind"] == kind))
        put(mutant, path, value)
        if validator == "custom_kind":
            found = list(gate.custom_kind("defect", mutant))
        else:
            found = list(gate.kubernetes_schema(folder, "defect", [mutant]))
        if not found:
            yield f"{validator} does not find {kind} {path}"
    for field, value in KUSTOMIZE_DEFECTS:
        copied = folder / "argocd"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree("argocd", copied)
        overlay = copied / "overlays/production"
        kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
        kustomization[field] = value
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        if subprocess.run([gate.KUSTOMIZE, "build", str(overlay)], capture_output=True).returncode == 0:
            yield f"kustomize does not find {field}: {value}"


def seeded(template, kind, path, value):
    """The template with the defect in its first resource of the type that has a place for it."""
    for name, entry in template["Resources"].items():
        if entry["Type"] != kind:
            continue
        mutant = copy.deepcopy(template)
        try:
            put(mutant["Resources"][name], path, value)
        except (KeyError, IndexError):
            continue
        return mutant
    return None


def main():
    committed = pathlib.Path("target/templates/account")
    originals = [json.loads(path.read_text()) for path in sorted(committed.glob("*.json"))]
    originals.sort(key=lambda template: len(json.dumps(template)))
    missed = []
    with tempfile.TemporaryDirectory(dir="target") as folder:
        by_validator = {}
        for number, (validator, rule, kind, path, value) in enumerate(DEFECTS):
            mutants = (seeded(template, kind, path, value) for template in originals)
            mutant = next((mutant for mutant in mutants if mutant), None)
            if mutant is None:
                missed.append(f"nothing generated has a place for {kind} {path}")
                continue
            name = f"defect-{number}.json"
            by_validator.setdefault(validator, {})[name] = (mutant, rule, f"{kind} {path}")
        for validator, mutants in by_validator.items():
            own = pathlib.Path(folder) / validator / "templates"
            own.mkdir(parents=True)
            for name, (mutant, _, _) in mutants.items():
                (own / name).write_text(json.dumps(mutant))
            templates = {name: mutant for name, (mutant, _, _) in mutants.items()}
            found = {(name, rule) for _, rule, name, _, _ in getattr(gate, validator)(own, templates)}
            for name, (_, rule, where) in mutants.items():
                if not any(of == name and rule.lower() in spoken.lower() for of, spoken in found):
                    others = sorted(spoken for of, spoken in found if of == name)
                    missed.append(f"{validator} does not find {rule} at {where}; it finds {others}")
        kubernetes = pathlib.Path(folder) / "kubernetes/documents"
        kubernetes.mkdir(parents=True)
        missed.extend(kubernetes_missed(kubernetes))
    for line in missed:
        print(line, file=sys.stderr)
    seeds = len(DEFECTS) + len(KUBERNETES_DEFECTS) + len(KUSTOMIZE_DEFECTS)
    print(f"{seeds - len(missed)} of {seeds} seeded defects found by foreign validators", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
