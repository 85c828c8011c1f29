#!/bin/bash
# quiver, Redis and an engine with the nine models' collections, from nothing, until Ctrl-C.
# usage: docker/quickstart.sh [--check] [--ports DATA,API,ENGINE,REDIS]
#   --check   verifies all that it starts, says what failed, exits 0 only if nothing did
#   --ports   instead of 6333,8000,16333,16379
# QDRANT_URL=http://HOST:PORT uses that server, with the key QDRANT_API_KEY, instead of the embedded engine: of
# it nothing is touched, only missing collections of models are made. All else that this makes lies under build/.
set -uo pipefail
cd "$(dirname "$0")/.."
check=no data=6333 api=8000 engine_port=16333 redis_port=16379
home=$PWD/build/quickstart
python=build/venv/bin/python

say() { echo "$*"; }

die() {
    echo "quickstart: $*" >&2
    exit 1
}

arguments() {
    while [ $# -gt 0 ]; do
        case "$1" in
        --check) check=yes ;;
        --ports)
            local number='([0-9]{1,5})'
            [[ "${2:-}" =~ ^$number,$number,$number,$number$ ]] || {
                echo "quickstart: --ports '${2:-}': expected four ports, as in 6333,8000,16333,16379" >&2
                exit 2
            }
            data=${BASH_REMATCH[1]} api=${BASH_REMATCH[2]}
            engine_port=${BASH_REMATCH[3]} redis_port=${BASH_REMATCH[4]}
            shift
            ;;
        *)
            [ "$1" = --help ] || echo "quickstart: '$1' is not an argument" >&2
            sed -n '2,7s/^# //p' "$0" >&2
            [ "$1" = --help ] && exit 0
            exit 2
            ;;
        esac
        shift
    done
}

# One quickstart per tree: data and logs have one place.
lock() {
    mkdir -p "$home"
    exec 9>>"$home/lock"
    flock -n 9 || die "another quickstart of this tree runs already, pid $(cat "$home/lock.pid" 2>/dev/null)"
    echo $$ >"$home/lock.pid"
}

ports_are_free() {
    local wanted=("data=$data" "api=$api" "redis=$redis_port")
    [ -n "${QDRANT_URL:-}" ] || wanted+=("engine=$engine_port")
    python3 docker/quickstart_ports.py "${wanted[@]}" || exit 1
}

# logged NAME COMMAND...: quiet unless it fails
logged() {
    local log=$home/$1.log
    shift
    "$@" >"$log" 2>&1 9>&- && return
    tail -20 "$log" >&2
    die "'$*' failed, all it said is in $log"
}

build() {
    logged cmake cmake --preset release
    logged build ninja -C build/release quiver
    [ -x $python ] || logged venv python3 -m venv build/venv
    local stamp=build/venv/edge.stamp
    if ! cmp -s docker/edge/requirements.txt $stamp; then
        logged pip build/venv/bin/pip install --disable-pip-version-check -q -r docker/edge/requirements.txt
        cp docker/edge/requirements.txt $stamp
    fi
}

names=() pids=()

# begin NAME LOG COMMAND...: in a session of its own, so that Ctrl-C reaches this script first
begin() {
    local name=$1 log=$2
    shift 2
    setsid "$@" >>"$log" 2>&1 </dev/null 9>&- &
    names+=("$name") pids+=($!)
}

# Ends what was started, the last first, each in order within 40 s.
stop_all() {
    local i n
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null || continue
        for ((n = 0; n < 400; n++)); do
            kill -0 "${pids[i]}" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "${pids[i]}" 2>/dev/null && echo "quickstart: ${names[i]} had to be killed" >&2
        wait "${pids[i]}" 2>/dev/null
    done
    pids=() names=()
    rm -f "$home/lock.pid" "$home"/*.sock
}

# status PORT PATH: the status code of a GET, or nothing
status() {
    local line=""
    {
        exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3 && read -r -t 5 line <&3
        exec 3>&-
    } 2>/dev/null
    [[ "$line" =~ ^HTTP/1\.[01]\ ([0-9]{3}) ]] && echo "${BASH_REMATCH[1]}"
}

# answers NAME PORT PATH SECONDS LOG: waits for a 200, as long as the process lives
answers() {
    local pid=${pids[-1]} until=$((SECONDS + $4))
    while [ "$(status "$2" "$3")" != 200 ]; do
        local wrong=""
        kill -0 "$pid" 2>/dev/null || wrong="ended at its start"
        [ $SECONDS -lt $until ] || wrong="does not answer $3 with 200 within $4 s"
        if [ -n "$wrong" ]; then
            tail -5 "$5" >&2
            die "$1 $wrong, see $5"
        fi
        sleep 0.05
    done
}

start_redis() {
    mkdir -p "$home/redis"
    begin redis "$home/redis.log" redis-server --port "$redis_port" --bind 127.0.0.1 --save "" \
        --appendonly no --dir "$home/redis" --maxmemory 256mb --maxmemory-policy volatile-lru --daemonize no
}

start_engine() {
    if [ -n "${QDRANT_URL:-}" ]; then
        engine=${QDRANT_URL%/} whose=foreign
        return
    fi
    engine=http://127.0.0.1:$engine_port whose=own
    # Data of another recipe is made anew; all of it is the quickstart's own.
    local recipe
    recipe=$(cat docker/quickstart_{seed,lib}.py docker/edge/requirements.txt | cksum)
    if [ "$(cat "$home/recipe" 2>/dev/null)" != "$recipe" ]; then
        rm -rf "$home/engine" "$home/made.json"
        echo "$recipe" >"$home/recipe"
    fi
    begin engine "$home/engine.log" $python docker/edge/serve.py --port "$engine_port" --data "$home/engine" \
        --log "$home/engine-requests.log"
    answers engine "$engine_port" /readyz 30 "$home/engine.log"
}

start_quiver() {
    # Clients, engine, Redis and quiver share this machine: 2 ms, the default, would now and then be too short
    # for a look into Redis.
    begin quiver "$home/quiver.log" env QUIVER_ACCESS_LOG="$home/access.log" QUIVER_REDIS_BUDGET=50ms \
        QUIVER_QUERY_LOG="$home/query-optimization.log" QUIVER_STATE_DIR="$home/state" build/release/quiver -c conf \
        --listen "$data" --api "$api" --upstream "$engine" --redis "redis://127.0.0.1:$redis_port" \
        --pid "$home/quiver.pid"
    answers quiver "$api" /readyz 20 "$home/quiver.log"
}

where() {
    local redis="redis://127.0.0.1:$redis_port"
    cat <<TEXT

Clients      http://127.0.0.1:$data       instead of $engine, nothing else changes
Control      http://127.0.0.1:$api       /healthz /readyz, metrics: /metrics
Engine       $engine
Redis        $redis
Logs         $home/quiver.log
             $home/access.log   a line for each request
Settings     conf/*.yaml; after a change:  kill -HUP ${pids[-1]}
TEXT
}

arguments "$@"
bash docker/packages.sh build || exit 1
lock
ports_are_free
trap stop_all EXIT
trap 'trap "" INT TERM; echo; exit 130' INT
trap 'trap "" INT TERM; exit 143' TERM HUP
begun=$SECONDS
say "Building..."
build
say "Starting Redis and the engine..."
start_redis
start_engine
$python docker/quickstart_seed.py "$engine" $whose || exit 1
start_quiver
say "Ready after $((SECONDS - begun)) s."
say
if [ $check = yes ]; then
    $python docker/quickstart_check.py "$engine" "http://127.0.0.1:$data" "http://127.0.0.1:$api" \
        "redis://127.0.0.1:$redis_port" "${pids[-1]}"
    exit
fi
$python docker/quickstart_show.py "$engine" "http://127.0.0.1:$data" || exit 1
where
say
stops="quiver and Redis"
[ $whose = foreign ] || stops="quiver, Redis and the engine"
say "Ctrl-C stops $stops. The collections stay for the next time."
wait -n "${pids[@]}"
for i in "${!pids[@]}"; do
    kill -0 "${pids[i]}" 2>/dev/null || die "${names[i]} has ended, see $home/${names[i]}.log"
done
