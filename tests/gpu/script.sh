#!/usr/bin/env bash
# Checks and times wukongctl on a GPU in about eight minutes. One command, one JSON object on stdout.
#
#   tests/gpu/script.sh                     # uses the Python of $PYTHON, else python3, with its torch
#   WHEELS=folder tests/gpu/script.sh       # installs missing dependencies from a folder of wheels, offline
#   OUT=folder tests/gpu/script.sh          # results.json and log.txt go there; . by default
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
out=${OUT:-.}
if ! "$python" -c 'import wukongctl.cli, duckdb, pyarrow, ruamel.yaml, pytest' 2>/dev/null; then
  "$python" -m pip install --quiet ${WHEELS:+--no-index --find-links "$WHEELS"} . pytest
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
"$python" -m pytest -q -m gpu tests/gpu -p no:cacheprovider >"$out/log.txt" 2>&1 || true
tail -n 1 "$out/log.txt" >&2
"$python" -m tests.gpu.measure --out "$out/results.json" "$@" 2>>"$out/log.txt"
