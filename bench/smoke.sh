#!/usr/bin/env bash
# smoke.sh - is the shape right? What a plain pass costs, in processor time per request, beside nginx in the same run.
# Prints a table and ends with 1 if quiver costs more than LIMIT times nginx at any size. See README.md.
#   bench/smoke.sh [ROUNDS [SECONDS]]      QUIVER=binary  UPSTREAM=bench_upstream  LIMIT=1.0  CONNECTIONS=32  PORT=25900
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-3} seconds=${2:-4}
quiver=${QUIVER:-build/release/quiver}
upstream=${UPSTREAM:-build/release/bench/bench_upstream}
limit=${LIMIT:-1.0} connections=${CONNECTIONS:-32} port=${PORT:-25900}
out=$PWD/build/bench
sizes=(384:general 4096:mixtral)   # dimensions:collection; both collections are rewritten by the shipped configuration
targets=(direct nginx quiver)
cores=$(nproc)
proxy_core=0 peer_core=$((cores > 1 ? 1 : 0))

for tool in nginx wrk taskset python3; do
    command -v $tool > /dev/null || { echo "smoke: $tool is not installed" >&2; exit 2; }
done
for binary in "$quiver" "$upstream"; do
    [ -x "$binary" ] || { echo "smoke: $binary is missing; build it with: cmake --preset release && cmake --build --preset release" >&2; exit 2; }
done

pids=()
stop() { [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2> /dev/null || true; wait 2> /dev/null || true; }
trap stop EXIT

await() { # a port
    for _ in $(seq 100); do
        (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null && return
        sleep 0.1
    done
    echo "smoke: nothing listens on port $1 after 10 s; see $out/*.log" >&2
    exit 2
}

make_files() {
    mkdir -p "$out"
    python3 - "$out" <<'PY'
import json, random, sys
for n in (384, 4096):
    random.seed(n)
    body = {"vector": [random.gauss(0, 1) for _ in range(n)], "limit": 10, "with_payload": False}
    with open(f"{sys.argv[1]}/search-{n}.json", "w") as f:
        json.dump(body, f)
PY
    cat > "$out/search.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = io.open(os.getenv("BODY")):read("*a")
LUA
    cat > "$out/nginx.conf" <<CONF
worker_processes 1;
pid $out/nginx.pid;
error_log $out/nginx.log error;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path $out/nginx-body;
    proxy_temp_path $out/nginx-proxy;
    fastcgi_temp_path $out/nginx-fastcgi;
    uwsgi_temp_path $out/nginx-uwsgi;
    scgi_temp_path $out/nginx-scgi;
    client_body_buffer_size 1m;
    client_max_body_size 64m;
    upstream engine { server 127.0.0.1:$port; keepalive 256; keepalive_requests 1000000000; }
    server {
        listen 127.0.0.1:$((port + 1));
        location / {
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
CONF
}

start() {
    taskset -c $peer_core "$upstream" "$port" > "$out/upstream.log" 2>&1 & pids+=($!)
    await "$port"
    taskset -c $proxy_core nginx -c "$out/nginx.conf" -g 'daemon off;' 2> /dev/null & pids+=($!); local master=$!
    taskset -c $proxy_core "$quiver" --listen 127.0.0.1:$((port + 2)) --api off --upstream "http://127.0.0.1:$port" \
        --redis off --cache off --rewrite on --workers 1 > "$out/quiver.log" 2>&1 & pids+=($!); quiver_pid=$!
    await $((port + 1))
    await $((port + 2))
    nginx_pid=$(tr -d ' ' < "/proc/$master/task/$master/children")
}

ticks() { # of a process, user and system
    local stat
    stat=$(< "/proc/$1/stat")
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

# One run: appends "size target requests seconds ticks" to $out/runs; fails if any request did.
measure() {
    local size=$1 collection=$2 target=$3 pid=0 at=$port before=0 after=0 log=$out/wrk.log
    [ "$target" = nginx ] && pid=$nginx_pid at=$((port + 1))
    [ "$target" = quiver ] && pid=$quiver_pid at=$((port + 2))
    [ "$pid" = 0 ] || before=$(ticks "$pid")
    BODY=$out/search-$size.json taskset -c $peer_core wrk -t1 -c"$connections" -d"${seconds}s" -s "$out/search.lua" \
        "http://127.0.0.1:$at/collections/$collection/points/search" > "$log"
    [ "$pid" = 0 ] || after=$(ticks "$pid")
    if grep -E 'Non-2xx|Socket errors' "$log" >&2; then
        echo "smoke: requests failed: $target, $size dimensions" >&2
        exit 2
    fi
    awk -v what="$size $target" -v ticks=$((after - before)) '/requests in/ { sub("s,", "", $4); print what, $1, $4, ticks }' \
        "$log" >> "$out/runs"
}

report() {
    python3 - "$out/runs" "$limit" "$(getconf CLK_TCK)" <<'PY'
import statistics, sys
runs, limit, hertz = {}, float(sys.argv[2]), int(sys.argv[3])
for line in open(sys.argv[1]):
    size, target, n, seconds, ticks = line.split()
    runs.setdefault((int(size), target), []).append((int(n) / float(seconds), int(ticks) / hertz * 1e6 / int(n)))
median = {k: (statistics.median(r for r, _ in v), statistics.median(c for _, c in v)) for k, v in runs.items()}
print(f"{'':>10} {'direct':>10} {'nginx':>10} {'quiver':>10}   {'nginx':>9} {'quiver':>9}   quiver/nginx, all rounds")
print(f"{'':>10} {'req/s':>10} {'req/s':>10} {'req/s':>10}   {'CPU us':>9} {'CPU us':>9}   CPU per request")
good = True
for size in sorted({s for s, _ in median}):
    rate = [median[size, t][0] for t in ("direct", "nginx", "quiver")]
    cpu = [median[size, t][1] for t in ("nginx", "quiver")]
    ratios = sorted(q[1] / n[1] for n, q in zip(runs[size, "nginx"], runs[size, "quiver"]))
    ratio = statistics.median(ratios)
    good &= ratio <= limit
    print(f"{size:>8}-D {rate[0]:>10.0f} {rate[1]:>10.0f} {rate[2]:>10.0f}   {cpu[0]:>9.1f} {cpu[1]:>9.1f}   "
          f"{ratio:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) {'ok' if ratio <= limit else 'OVER ' + sys.argv[2]}")
sys.exit(0 if good else 1)
PY
}

make_files
start
: > "$out/runs"
for round in $(seq 0 "$rounds"); do   # round 0 warms up and is forgotten
    for size in "${sizes[@]}"; do
        for target in "${targets[@]}"; do
            measure "${size%%:*}" "${size##*:}" "$target"
        done
    done
    [ "$round" != 0 ] || : > "$out/runs"
done
echo "wrk -t1 -c$connections, $rounds rounds of $seconds s, one thread each, proxy on core $proxy_core, client and upstream on core $peer_core"
report
