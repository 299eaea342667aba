#!/usr/bin/env python3
"""Sends random inputs and outputs of every modelled operation through boto3 and the wire codec, and compares.

Run by the test `conformance`, which serves an echo: `PUT /__out/<service>.<operation>` sets the next answer,
`GET /__last` gives the input that was decoded last. Usage: round_trip.py ENDPOINT MODELS_FOLDER
"""

import base64
import datetime
import json
import pathlib
import random
import re
import sys
import urllib.request

import boto3
import botocore.model
from botocore.config import Config

ENDPOINT, MODELS = sys.argv[1], pathlib.Path(sys.argv[2])
ROUNDS = 2
# Strings that satisfy most of AWS's patterns; the first that fits a shape is sent.
CANDIDATES = [
    "abc", "a-b_c.d", "Abc123", "123456789012", "1", "12:30", "/a/b", "a/b", "a:b", "a@example.org", "ab12" * 8,
    "sha256:" + "0a" * 32, "arn:aws:iam::123456789012:role/name", "arn:aws:sns:us-east-1:123456789012:topic",
    "arn:aws:codeconnections:us-east-1:123456789012:connection/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f",
    "arn:aws:codeconnections:us-east-1:123456789012:host/name-0a1b2c3d",
    "arn:aws:codepipeline:us-east-1:123456789012:pipeline", "arn:aws:elasticloadbalancing:us-east-1:123456789012:x/y",
    "0a1b2c3d-0a1b-4a1b-8a1b-0a1b2c3d4e5f", "https://example.org/x", "us-east-1", "#{a.b}", "d-ABCDEFGHI",
    "service/default/name", "2026-01-01T00:00:00Z", "{}", "SourceVariables", "a" * 40, "/a/", "/",
]


class Ungenerated(Exception):
    """No value for a shape could be made up."""


def text(shape):
    if getattr(shape, "enum", None):
        return random.choice(shape.enum)
    low, high = int(shape.metadata.get("min", 1)), int(shape.metadata.get("max", 2048))
    pattern = shape.metadata.get("pattern")
    if pattern:
        # What Python's engine does not know: Unicode classes, surrogate pairs.
        pattern = re.sub(r"\\p\{(L|Alpha)\}", "a-zA-Z", pattern)
        pattern = re.sub(r"\\p\{(N|Digit|M|P|S|Z[a-z]?)\}", "0-9", pattern)
        pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", "")
        for candidate in CANDIDATES:
            if low <= len(candidate) <= high and matches(pattern, candidate):
                return candidate
        raise Ungenerated(shape.name)
    length = max(low, min(high, random.randint(1, 20)))
    drawn = "".join(random.choice("abcXYZ09 <&>\"'é日\t") for _ in range(length))
    return drawn.strip().ljust(low, "x") or "x"


def matches(pattern, candidate):
    try:
        return re.fullmatch(pattern, candidate)
    except re.error:
        return False


def structure(shape, depth, seen):
    if shape.name in seen:
        raise Ungenerated(shape.name)
    names = list(shape.members)
    if shape.is_tagged_union:
        names = [random.choice(names)]
    made = {}
    for name in names:
        required = name in shape.required_members
        if not (required or depth < 2 or shape.is_tagged_union or random.random() < 0.5):
            continue
        try:
            made[name] = value(shape.members[name], depth + 1, seen + (shape.name,))
        except Ungenerated:
            if required or shape.is_tagged_union:
                raise
    if depth and not made:
        raise Ungenerated(shape.name)
    return made


def value(shape, depth=0, seen=()):
    kind = shape.type_name
    if kind == "structure":
        return structure(shape, depth, seen)
    if kind == "list":
        low = max(1, int(shape.metadata.get("min", 1)))
        high = int(shape.metadata.get("max", 2))
        return [value(shape.member, depth + 1, seen) for _ in range(max(low, min(high, random.randint(1, 2))))]
    if kind == "map":
        if shape.metadata.get("min", 1) > 1:
            raise Ungenerated(shape.name)
        return {value(shape.key, depth + 1, seen): value(shape.value, depth + 1, seen)}
    if kind == "string":
        return text(shape)
    if kind == "boolean":
        return random.random() < 0.5
    if kind in ("integer", "long"):
        low = int(shape.metadata.get("min", 0))
        return random.randint(low, int(min(shape.metadata.get("max", low + 1000), low + 100000)))
    if kind in ("float", "double"):
        return round(random.uniform(0, 100), 3)
    if kind == "timestamp":
        begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
        return begin + datetime.timedelta(seconds=random.randint(0, 10**7))
    if kind == "blob":
        return bytes(random.randint(0, 255) for _ in range(9))
    raise Ungenerated(shape.name)


def plain(item):
    """A value as the endpoint holds it."""
    if isinstance(item, datetime.datetime):
        return round(item.timestamp(), 3)
    if isinstance(item, (bytes, bytearray)):
        return base64.b64encode(item).decode()
    if isinstance(item, dict):
        return {key: plain(member) for key, member in item.items() if key != "ResponseMetadata"}
    if isinstance(item, list):
        return [plain(member) for member in item]
    if isinstance(item, float) and item == int(item):
        return int(item)
    return item


def http(method, path, body=None):
    request = urllib.request.Request(ENDPOINT + path, data=body, method=method)
    return urllib.request.urlopen(request).read()


def try_operation(client, service, operation, report):
    model = client.meta.service_model.operation_model(operation)
    try:
        sent = value(model.input_shape) if model.input_shape is not None else {}
        wanted = plain(value(model.output_shape)) if model.output_shape is not None else {}
    except Ungenerated as shape:
        report["skipped"].append(f"{service}.{operation} ({shape})")
        return
    http("PUT", f"/__out/{service}.{operation}", json.dumps(wanted).encode())
    try:
        received = plain(client._make_api_call(operation, sent))
    except Exception as error:
        report["failed"].append(f"{service}.{operation}: {type(error).__name__}: {str(error)[:300]}")
        return
    decoded = json.loads(http("GET", "/__last"))
    if decoded != plain(sent):
        report["failed"].append(f"{service}.{operation}: sent {plain(sent)}, decoded {decoded}")
    elif received != wanted:
        report["failed"].append(f"{service}.{operation}: answered {wanted}, received {received}")
    else:
        report["passed"] += 1


def main():
    random.seed(7)
    report = {"passed": 0, "failed": [], "skipped": []}
    default = botocore.model.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS
    for path in sorted(MODELS.glob("*.json")):
        service, described = path.stem, json.loads(path.read_text())
        # Services that speak several protocols are tried in each.
        for protocol in described["metadata"]["protocols"]:
            botocore.model.PRIORITY_ORDERED_SUPPORTED_PROTOCOLS = (protocol, *default)
            client = boto3.session.Session().client(
                service, endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id="a",
                aws_secret_access_key="b", config=Config(retries={"max_attempts": 1}),
            )
            if client.meta.service_model.resolved_protocol != protocol:
                report["failed"].append(f"{service}: boto3 would not speak {protocol}")
                continue
            for operation in described["operations"]:
                for _ in range(ROUNDS):
                    try_operation(client, service, operation, report)
    print(json.dumps(report, indent=1, ensure_ascii=False))
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
