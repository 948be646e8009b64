#!/usr/bin/env bash
# Regenerates towline/proto/fleet_pb2*.py from fleet.proto: make generate
set -euo pipefail
cd "$(dirname "$0")/.."
python -m grpc_tools.protoc -I. --python_out=. --mypy_out=. --grpc_python_out=. towline/proto/fleet.proto
