"""Creates the generated stacks that MiniStack supports, really, on loopback, and looks at what came of them.

MiniStack rejects a template with a type that it does not know (NAT gateways, CodeDeploy, pipelines, scaling), so each
stack is created from the first variant that it takes, and the stacks that it takes in no variant are named.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import boto3
from botocore.config import Config

TEMPLATES = pathlib.Path("target/templates")
# In the order in which they are created, with what must exist then: service, operation, field. These must be created.
STACKS = {
    "smartassist-registry": ("ecr", "describe_repositories", "repositories"),
    "smartassist-network-staging": ("ec2", "describe_vpcs", "Vpcs"),
    "smartassist-data-staging": ("dynamodb", "list_tables", "TableNames"),
}
# These need not.
OTHERS = ["smartassist-service-staging", "smartassist-observability-staging", "smartassist-delivery"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until_it_answers(url, process):
    for _ in range(240):
        if process.poll() is not None:
            sys.exit(f"ministack ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.5)
    sys.exit("ministack does not answer")


def create(client, name, template):
    """The number of resources that were created, or nothing if MiniStack does not know one of their types."""
    missing = [key for key, entry in template.get("Parameters", {}).items() if "Default" not in entry]
    parameters = [{"ParameterKey": key, "ParameterValue": "placeholder@sha256:" + "0" * 64} for key in missing]
    try:
        client.create_stack(
            StackName=name, TemplateBody=json.dumps(template), Parameters=parameters, Capabilities=["CAPABILITY_NAMED_IAM"]
        )
    except client.exceptions.ClientError as error:
        if "Unrecognized resource types" in str(error):
            return None
        raise
    for _ in range(120):
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        time.sleep(0.5)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = client.describe_stack_events(StackName=name)["StackEvents"]
        causes = [event.get("ResourceStatusReason") for event in events if event["ResourceStatus"].endswith("FAILED")]
        sys.exit(f"{name}: {stack['StackStatus']}: {causes}")
    resources = client.describe_stack_resources(StackName=name)["StackResources"]
    wanted = set(template["Resources"])
    created = {resource["LogicalResourceId"] for resource in resources if resource["ResourceStatus"] == "CREATE_COMPLETE"}
    if wanted - created:
        sys.exit(f"{name}: not created: {sorted(wanted - created)}")
    return len(created)


def main():
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(dir="target") as folder:
        environment = {
            "PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)
        }
        program = pathlib.Path(sys.executable).parent / "ministack"
        log = open(pathlib.Path(folder) / "log", "w+")
        process = subprocess.Popen([program], env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            wait_until_it_answers(url, process)
            options = {
                "endpoint_url": url, "region_name": "ap-northeast-1", "aws_access_key_id": "test",
                "aws_secret_access_key": "test", "config": Config(retries={"max_attempts": 1}, proxies={}),
            }
            formation = boto3.client("cloudformation", **options)
            for name in [*STACKS, *OTHERS]:
                paths = sorted(TEMPLATES.rglob(f"{name}.json"), key=lambda path: path.stat().st_size)
                counts = (create(formation, name, json.loads(path.read_text())) for path in paths)
                count = next((count for count in counts if count), None)
                if count is None:
                    if name in STACKS:
                        sys.exit(f"{name}: MiniStack knows a type of no variant")
                    print(f"{name}: has types that MiniStack does not know", file=sys.stderr)
                    continue
                if name in STACKS:
                    service, operation, field = STACKS[name]
                    if not getattr(boto3.client(service, **options), operation)()[field]:
                        sys.exit(f"{name}: {service} has no {field}")
                print(f"{name}: {count} resources created in MiniStack", file=sys.stderr)
        finally:
            process.terminate()
            process.wait(timeout=20)


if __name__ == "__main__":
    main()
