#!/usr/bin/env bash
# Validates everything in this folder with the tools of its own trade, from PyPI: YAML, schemas, shell and container files always,
# alert rules and their tests where promtool (Debian: prometheus) is there.
set -euo pipefail
cd "$(dirname "$0")"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/locus/deploy-check"
if [ ! -x "$cache/bin/check-jsonschema" ]; then
    python3 -m venv "$cache"
    "$cache/bin/pip" install --quiet --no-deps -r check-requirements.txt
fi
export PATH="$cache/bin:$PATH"
yamllint --strict --config-file yamllint.yaml .
check-jsonschema --builtin-schema vendor.compose-spec compose/compose.yaml
kubernetes-validate --strict k8s/*.yaml
python3 check.py
if command -v promtool >/dev/null; then
    promtool check rules prometheus/alerts.yaml
    promtool test rules prometheus/alerts.test.yaml
    # Not kubernetes.yaml: the promtool of Debian knows no Kubernetes. check.py looks at its labels.
    promtool check config --syntax-only prometheus/prometheus.yaml
fi
hadolint --failure-threshold warning containerfiles/Containerfile
shellcheck ./*.sh compose/*.sh
