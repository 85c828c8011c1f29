#!/usr/bin/env bash
# run.sh - quiver beside nginx, HAProxy and Varnish, measured in one run: everything needed, then bench/run.py.
#   bench/run.sh [--quick] [--only PART]... [--rounds N] [--seconds S] [--compare OLD.json]
# Results: a table, build/bench/result.json, build/bench/result.png. README.md tells how to read them.
set -euo pipefail
cd "$(dirname "$0")/.."

bash docker/packages.sh build bench
[ -x build/venv/bin/python ] || python3 -m venv build/venv
stamp=build/venv/bench.stamp
if ! cmp -s bench/requirements.txt "$stamp"; then
    build/venv/bin/pip install --disable-pip-version-check -q -r bench/requirements.txt
    cp bench/requirements.txt "$stamp"
fi
mkdir -p build/bench
if ! { cmake --preset release && ninja -C build/release quiver bench/all; } > build/bench/build.log 2>&1; then
    tail -20 build/bench/build.log >&2
    exit 2
fi
exec build/venv/bin/python bench/run.py "$@"
