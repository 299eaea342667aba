"""Exits with 1 and the reasons unless a document is valid: validate_sbom.py cyclonedx|spdx FILE"""

import sys

kind, path = sys.argv[1:]
if kind == "cyclonedx":
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(path).read())
    problems = [error] if error else []
else:
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    problems = validate_full_spdx_document(parse_file(path))
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(1 if problems else 0)
