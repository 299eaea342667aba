#!/usr/bin/env bash
# Installs the peers below target/ and measures synthesis beside them.
set -euo pipefail
cd "$(dirname "$0")/../../.."
tools=target/tools-bench
packages="troposphere==4.11.1 aws-cdk-lib@2.276.0 constructs@10.8.1"
if [ "$(cat "$tools/packages" 2>/dev/null)" != "$packages" ]; then
  rm -rf "$tools" && mkdir -p "$tools"
  python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check troposphere==4.11.1
  npm install --silent --no-audit --no-fund --prefix "$tools" aws-cdk-lib@2.276.0 constructs@10.8.1
  echo "$packages" >"$tools/packages"
fi
cargo bench --quiet --locked -p cloudformation --bench synth
