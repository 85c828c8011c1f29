#!/bin/bash
# Everything needed to run all tests, and all tests. usage: tests/run.sh [--long] [--only PART]...
# PART: dev asan tsan (build and C tests of that preset; tsan only if it is named, or with --long) meta reference edge api tune deploy blackbox coherence qdrant blackbox-asan bench
# Each part's own closing lines are printed; logs lie under build/test-logs. Exit 0 only if every part passed.
set -uo pipefail
cd "$(dirname "$0")/.."
PARTS="dev asan tsan meta reference edge api tune deploy blackbox coherence qdrant blackbox-asan bench"
long="" only=""
while [ $# -gt 0 ]; do
    case "$1" in
    --long) long=--long ;;
    --only)
        case " $PARTS " in
        *" ${2:-} "*) only="$only $2" ;;
        *)
            echo "run.sh: '${2:-}' is not a part, expected one of: $PARTS" >&2
            exit 2
            ;;
        esac
        shift
        ;;
    *)
        sed -n '2,4s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    shift
done

logs=build/test-logs
mkdir -p "$logs"
failed="" summary=""
begin=$SECONDS

wanted() { [[ " $only " == *" $1 "* ]] || { [ -z "$only" ] && { [ "$1" != tsan ] || [ -n "$long" ]; }; }; }

# step NAME CLOSING COMMAND...: runs with a log, keeps the last lines that match CLOSING for the summary
step() {
    local name=$1 closing=$2 from=$SECONDS result=ok log
    log=$logs/${name// /-}.log
    shift 2
    echo "== $name"
    if ! "$@" >"$log" 2>&1; then
        result=FAILED failed="$failed '$name'"
        grep -aE '^(FAILED|ERROR) |FAILED:|error:|\*\*\*Failed' "$log" | head -40
        tail -25 "$log"
    fi
    local line
    line=$(grep -aE "$closing" "$log" | tail -1 | sed 's/^=* *//; s/ *=*$//')
    summary="$summary$(printf '%-22s %-6s %4d s  %s' "$name" "$result" $((SECONDS - from)) "$line")"$'\n'
    echo "   $result: $line"
    [ "$result" = ok ]
}

finish() {
    echo
    echo "$summary"
    echo "total $((SECONDS - begin)) s"
    if [ -n "$failed" ]; then
        echo "FAILED:$failed"
        exit 1
    fi
    echo "all passed"
    exit 0
}

venv() {
    [ -x build/venv/bin/python ] || python3 -m venv build/venv || return 1
    local stamp=build/venv/requirements.stamp lists=(tests/requirements.txt)
    [ ! -f docker/edge/requirements.txt ] || lists+=(docker/edge/requirements.txt)
    if ! cat "${lists[@]}" | cmp -s - "$stamp"; then
        build/venv/bin/pip install --disable-pip-version-check -q "${lists[@]/#/-r}" || return 1
        cat "${lists[@]}" >"$stamp"
    fi
}

# The JavaScript client and its packages, under build/.
npm_packages() {
    [ -f tests/qdrant/package.json ] || return 0
    mkdir -p build/js
    if ! cmp -s tests/qdrant/package.json build/js/package.json || [ ! -d build/js/node_modules ]; then
        cp tests/qdrant/package*.json build/js/
        (cd build/js && npm ci --legacy-peer-deps --no-audit --no-fund --loglevel=error) || return 1
    fi
}

build_preset() { cmake --preset "$1" && ninja -C "build/$1" -j2 -k 0; }
python_tests() { build/venv/bin/python -m pytest --import-mode=importlib -p no:cacheprovider -q "$@"; }
has_tests() { compgen -G "tests/$1/test_*.py" >/dev/null; }

step packages 'packages.sh|.' bash docker/packages.sh build test || finish
step venv '.' venv || finish
PYTEST_END='(passed|failed|error|skipped).* in [0-9.]+'

for preset in dev asan tsan; do
    need=no
    wanted $preset && need=yes
    [ $preset = dev ] && { wanted blackbox || wanted reference || wanted qdrant || wanted api || wanted tune || wanted deploy || wanted coherence || wanted bench; } && need=yes
    [ $preset = asan ] && wanted blackbox-asan && need=yes
    [ $need = yes ] || continue
    step "build $preset" 'Linking|no work to do' build_preset $preset # goes on: what was built is still worth testing
    wanted $preset && step "ctest $preset" 'tests passed|tests failed' \
        ctest --test-dir build/$preset -j2 --output-on-failure --timeout 300
done

export QUIVER_BIN=$PWD/build/dev/quiver REWRITE_DRIVER=$PWD/build/dev/tests/reference/rewrite_driver
wanted meta && has_tests meta && step meta "$PYTEST_END" python_tests tests/meta
wanted reference && has_tests reference &&
    step reference "$PYTEST_END" python_tests tests/reference
wanted edge && has_tests edge && step edge "$PYTEST_END" python_tests tests/edge
wanted api && has_tests api && step api "$PYTEST_END" python_tests -n 2 tests/api
wanted tune && has_tests tune && step tune "$PYTEST_END" python_tests tests/tune $long
wanted deploy && has_tests deploy && step deploy "$PYTEST_END" python_tests tests/deploy $long
wanted blackbox && step blackbox "$PYTEST_END" python_tests -n 4 --dist worksteal tests/blackbox $long
wanted coherence && {
    step coherence "$PYTEST_END" python_tests -n 2 --dist worksteal -m 'not alone' tests/coherence $long
    step "coherence alone" "$PYTEST_END" python_tests -m alone tests/coherence $long
}
if wanted qdrant && has_tests qdrant; then
    step npm '.' npm_packages
    step qdrant "$PYTEST_END" python_tests tests/qdrant
fi
wanted blackbox-asan &&
    QUIVER_BIN=$PWD/build/asan/quiver step "blackbox asan" "$PYTEST_END" \
        python_tests -n 4 --dist worksteal tests/blackbox $long
wanted bench && {
    step "bench tools" "$PYTEST_END" python_tests tests/bench
    step bench '^quick:|^FAILED:' bench/run.sh --quick
}
finish
