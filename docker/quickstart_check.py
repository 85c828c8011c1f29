"""Verifies what the quickstart promises.

    quickstart_check.py ENGINE_URL QUIVER_URL CONTROL_URL REDIS_URL QUIVER_PID

Prints a line per promise; exits 1 and says what failed if one was not kept.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from quickstart_lib import HOME, QUIVER, ROOT, Failed, Server, Target, engine, made_here, models, target

NINE = {"mixtral", "hermes", "openchat", "yi34b", "deepseek", "phi3", "imp", "deepcoder", "general"}
ASKED = 12  # searches per model: at recall 0.94 to 0.98 it is most unlikely that none shows the rewrite
TRIES = 6  # where a busy machine overruns Redis's budget an answer misses the cache; that is no error
BYPASS = {"cache-control": "no-store"}
METRICS = (
    "model_requests_total", "model_request_duration_seconds_count", "model_pool_connections",
    "model_queue_length", "optimization_rewrites_total", "cache_hit_rate", "cache_hits_total",
    "cache_misses_total", "cache_stores_total", "quiver_reloads_total", "quiver_client_connections_total",
)  # fmt: skip


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.02)


def points(answer) -> list:
    return [(p["id"], p["score"]) for p in answer.json()["result"]["points"]]


def is_rewritten(direct: Server, quiver: Server, control: Server, t: Target) -> None:
    """Through quiver a plain search is answered as Qdrant answers one that says what conf/ says."""
    before, differs = control.metric("optimization_rewrites_total", model=t.model.name), 0
    for vector in t.queries(ASKED):
        through = points(quiver.ok("POST", t.path, t.body(vector), BYPASS))
        told = points(direct.ok("POST", t.path, t.body(vector, t.model.search)))
        if through != told:
            wrong = f"through quiver {through[:3]}..., Qdrant told {t.model.search} {told[:3]}..."
            raise Failed(f"{t.model.name}: {wrong}")
        differs += through != points(direct.ok("POST", t.path, t.body(vector)))
    counted = control.metric("optimization_rewrites_total", model=t.model.name) - before
    if t.model.search and counted != ASKED:
        raise Failed(
            f"{t.model.name}: {ASKED} searches, but optimization_rewrites_total rose by {counted:.0f}"
        )
    if t.model.search and t.ours and not differs:
        raise Failed(f"{t.model.name}: not one of {ASKED} answers differs from those of Qdrant alone")


def is_remembered(quiver: Server, control: Server, t: Target) -> dict:
    """The second time from memory, with the same result. Returns the body, which Redis holds too."""
    before = control.metric("cache_hits_total", model=t.model.name, store="memory")
    for vector in t.queries(TRIES):
        body = t.body(vector)
        in_redis = control.metric("cache_stores_total", model=t.model.name, store="redis")
        first = quiver.ok("POST", t.path, body)
        if first.hit:
            raise Failed(f"{t.model.name}: a search never asked before was a hit: {first.cache}")
        second = quiver.ok("POST", t.path, body)
        if not second.hit:
            continue
        if second.json()["result"] != first.json()["result"]:
            raise Failed(f"{t.model.name}: the answer from memory is another one")
        if control.metric("cache_hits_total", model=t.model.name, store="memory") != before + 1:
            raise Failed(f"{t.model.name}: a hit that cache_hits_total does not count")
        stored = "cache_stores_total of Redis rises"
        wait_until(
            lambda n=in_redis: control.metric("cache_stores_total", model=t.model.name, store="redis") > n,
            5,
            stored,
        )
        return {"body": body, "result": first.json()["result"]}
    raise Failed(f"{t.model.name}: no second answer of {TRIES} came from memory; the last: '{second.cache}'")


@contextmanager
def another_quiver(
    name: str, upstream: str, redis: str, env: dict[str, str]
) -> Iterator[tuple[Server, Server]]:
    """A second process on unix sockets; yields its data and control servers."""
    sockets = [HOME / f"{name}.sock", HOME / f"{name}-api.sock"]
    for path in sockets:
        path.unlink(missing_ok=True)
    command = [
        str(QUIVER),
        "-c",
        str(ROOT / "conf"),
        "--upstream",
        upstream,
        "--redis",
        redis,
        "--workers",
        "1",
    ]
    command += ["--listen", f"unix:{sockets[0]}", "--api", f"unix:{sockets[1]}"]
    log = HOME / f"{name}.log"
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stderr=out, stdout=out, env={**os.environ, "QUIVER_STATE_DIR": str(HOME / f"{name}-state"), "QUIVER_QUERY_LOG": "off", **env})
    control = Server(f"unix:{sockets[1]}")

    def is_ready() -> bool:
        if process.poll() is not None:
            raise Failed(f"the second quiver ended with {process.returncode}, see {log}")
        return sockets[1].exists() and control.ask("GET", "/readyz").status == 200

    try:
        wait_until(is_ready, 10, "a second quiver is ready")
        yield Server(f"unix:{sockets[0]}", engine(upstream).key), control
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_shared(quiver: Server, control: Server, other: Server, other_control: Server, t: Target) -> None:
    """What one quiver stored, the other answers from Redis the first time it is asked."""
    for _ in range(TRIES):
        held = is_remembered(quiver, control, t)
        first = other.ok("POST", t.path, held["body"])
        if first.hit:
            break
    else:
        raise Failed(f"{t.model.name}: a second quiver never answered from Redis; the last: {first.cache}")
    if first.json()["result"] != held["result"]:
        raise Failed(f"{t.model.name}: a second quiver answers otherwise from Redis")
    if other_control.metric("cache_hits_total", model=t.model.name, store="redis") < 1:
        raise Failed(f"{t.model.name}: a hit from Redis that cache_hits_total does not count")


def ttl_follows_the_environment(upstream: str, hermes: Target) -> None:
    """MODEL_CACHE_TTL_HERMES=1: gone after a second, where conf/ keeps answers for ten minutes."""
    with another_quiver("ttl", upstream, "off", {"MODEL_CACHE_TTL_HERMES": "1"}) as (quiver, _):
        body = hermes.body(hermes.queries(1)[0])
        begin = time.monotonic()
        quiver.ok("POST", hermes.path, body)
        soon = quiver.ok("POST", hermes.path, body)
        in_time = time.monotonic() - begin < 0.9
        time.sleep(1.2)
        late = quiver.ok("POST", hermes.path, body)
        if (in_time and not soon.hit) or late.hit:
            raise Failed(f"MODEL_CACHE_TTL_HERMES=1: at once '{soon.cache}', after 1.2 s '{late.cache}'")


def reload_works(control: Server, pid: int) -> None:
    before = control.metric("quiver_reloads_total", result="ok")
    os.kill(pid, signal.SIGHUP)
    what = "kill -HUP is counted as a reload"
    wait_until(lambda: control.metric("quiver_reloads_total", result="ok") > before, 10, what)


def control_answers(control: Server) -> None:
    for path in ("/healthz", "/readyz"):
        control.ok("GET", path)
    missing = [name for name in METRICS if control.metric(name) < 0]
    if missing:
        raise Failed(f"/metrics lacks {', '.join(missing)}")


class Checks:
    def __init__(self) -> None:
        self.failed = 0

    def run(self, what: str, check: Callable, *arguments) -> None:
        try:
            check(*arguments)
            print(f"  ok      {what}", flush=True)
        except Failed as e:
            self.failed += 1
            print(f"  FAILED  {what}: {e}", flush=True)


def main() -> int:
    upstream, quiver_url, control_url, redis, pid = sys.argv[1:]
    direct, control = engine(upstream), Server(control_url)
    quiver, checks, made = Server(quiver_url, direct.key), Checks(), made_here(upstream)
    every = models(upstream)
    absent = NINE - {m.name for m in every}
    if absent:
        raise Failed(f"conf/ does not name {', '.join(sorted(absent))}")
    targets = {m.name: target(direct, m, m.collection in made) for m in every}
    with another_quiver("second", upstream, redis, {"QUIVER_REDIS_BUDGET": "50ms"}) as (other, other_control):
        for name, t in targets.items():
            checks.run(
                f"{name}: searches are rewritten as configured", is_rewritten, direct, quiver, control, t
            )
            checks.run(f"{name}: the second answer comes from memory", is_remembered, quiver, control, t)
            what = f"{name}: a second quiver answers from Redis"
            checks.run(what, is_shared, quiver, control, other, other_control, t)
    checks.run("MODEL_CACHE_TTL_HERMES=1 shows", ttl_follows_the_environment, upstream, targets["hermes"])
    checks.run("health, readiness and metrics", control_answers, control)
    checks.run("kill -HUP reloads", reload_works, control, int(pid))
    print("all is well" if not checks.failed else f"{checks.failed} checks failed", flush=True)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"quickstart: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
