#!/bin/bash
# Installs what is missing of Debian's packages, as root or with passwordless sudo; otherwise prints the one command
# to run and exits 1.
# usage: docker/packages.sh [build|test|bench]...   (default: build)
set -euo pipefail

# What configures, compiles and runs quiver and the embedded engine.
build="gcc libc6-dev cmake ninja-build pkg-config libevent-dev libevhtp-dev libhiredis-dev libcjson-dev libyaml-dev
       libxxhash-dev libssl-dev zlib1g-dev libjemalloc-dev libcmocka-dev python3 python3-venv redis-server ca-certificates"
# What only tests need.
test="curl nodejs npm apache2-utils wrk clang libclang-rt-14-dev git prometheus debootstrap"
# What only comparisons need.
bench="nginx haproxy varnish varnish-modules redis-server wrk linux-perf strace util-linux procps"

wanted=""
for set in "${@:-build}"; do
    case "$set" in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    bench) wanted="$wanted $bench" ;;
    *)
        echo "packages.sh: '$set' is not a set of packages, expected build, test or bench" >&2
        exit 2
        ;;
    esac
done

missing=""
for package in $(tr ' ' '\n' <<<"$wanted" | sort -u); do
    # node and npm often come from elsewhere than Debian, in one package
    case "$package" in nodejs | npm) ! command -v "${package%js}" >/dev/null || continue ;; esac
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    as=""
elif sudo -n true 2>/dev/null; then
    as="sudo"
else
    echo "packages.sh: packages are missing and this user may not install them. Run:" >&2
    echo "    sudo $install" >&2
    exit 1
fi
# redis, nginx and prometheus would start servers of their own when installed; nothing here wants them.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$as rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $as tee "$policy" >/dev/null
    $as chmod +x "$policy"
fi
log=$(mktemp)
echo "packages.sh: installing$missing"
if ! $as env DEBIAN_FRONTEND=noninteractive $install >"$log" 2>&1; then
    $as apt-get update -q >>"$log" 2>&1 || true
    if ! $as env DEBIAN_FRONTEND=noninteractive $install >>"$log" 2>&1; then
        tail -20 "$log" >&2
        echo "packages.sh: could not install, see $log" >&2
        exit 1
    fi
fi
rm -f "$log"
