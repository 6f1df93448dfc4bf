#!/usr/bin/env bash
# Runs one part of test/cmd: part.sh SOURCE PART, where SECURE_API_PORT tells of the server. Upstream's own script does the rest.
set -o errexit -o nounset -o pipefail

cd "$1"
part="$2"
source hack/lib/init.sh
source hack/lib/test.sh
source test/cmd/legacy-script.sh

# Programs are built and the server runs already.
make() { :; }
kube::etcd::start() { :; }
kube::etcd::cleanup() { :; }

setup
# Without an annotation nobody would manage a field of it, and the tests look for managed fields.
kubectl create -f - <<< '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "127.0.0.1", "annotations": {"save-managers": "true"}},
  "status": {"capacity": {"memory": "1Gi"}}}'
export SUPPORTED_RESOURCES=("*")

if [[ "${part}" == between ]]; then
  # What upstream checks between its parts.
  record_command() { :; }
  runTests
else
  # Before this part upstream has run for minutes: only a node that long silent has conditions.
  [[ "${part}" != run_nodes_tests ]] || kubectl wait --for=condition=Ready=unknown node/127.0.0.1 --timeout=3m
  # Some rely on an empty namespace that a part before them made.
  eval "run_part_tests() { create_and_use_new_namespace; ${part}; }"
  WHAT=part runTests
fi
