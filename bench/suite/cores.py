"""Both cores: what a second worker brings, and all models together."""

from statistics import mean, median

from . import bodies, machine
from .load import Upstream, load
from .peers import Server, quiver, upstream
from .rows import Row, Say

BOTH = tuple(machine.CORES[:2])
ONE = BOTH[:1]
PASS = ("--redis", "off", "--cache", "off")
MEMORY = ("--redis", "off")
CLIENTS = 64
# what is shown, flags, where workers run (two of them, and one on each of these cores), connections of each model's pool
CASES = (
    ("passed on", PASS, ONE, 2 * CLIENTS),
    (f"passed on, a pool of {CLIENTS // 2}", PASS, ONE, CLIENTS // 2),
    ("from memory", MEMORY, BOTH, CLIENTS),
)


def measure(first: int, rounds: int, seconds: float, say: Say) -> list[Row]:
    sent, rewritten = bodies.make()
    servers: list[Server] = []
    rows: list[Row] = []
    try:
        servers.append(upstream({first: sent, first + 1: rewritten}))
        for at, (title, flags, where, pool) in enumerate(CASES):
            port = first + 2 + 3 * at
            env = {f"MODEL_CONNECTIONS_{m.upper()}": str(pool) for m in bodies.MODELS}
            two = quiver(f"quiver-two-{at}", port, first + 1, *flags, env=env, workers=2, cores=where)
            servers.append(two)
            ones = []
            for core in where:
                name = f"quiver-one-{at}-{core}"
                ones.append(quiver(name, port + 1 + len(ones), first + 1, *flags, env=env, cores=(core,)))
                servers.append(ones[-1])
            for dim in (384, 4096):
                say(f"two workers, {title}, {dim} dimensions")
                rows.append(_scaling(title, ones, two, dim, rounds, seconds))
        say("nine models")
        servers.append(all_models := quiver("quiver-models", first + 19, first + 1, *MEMORY, workers=2, cores=BOTH))
        rows.append(_models(all_models, rounds, seconds))
        Upstream(first + 1).check()
    finally:
        for server in reversed(servers):
            server.stop()
    return rows


def _scaling(title: str, ones: list[Server], two: Server, dim: int, rounds: int, seconds: float) -> Row:
    """Load and upstream need the second core, so throughput cannot show it; what a request costs can: were two workers in
    each other's way, it would cost more. It is held against one worker alone on each of the same cores, since one that shares
    its core with the load costs more by that. Passing on, the load is the limit, and a worker that idles between requests pays
    for being woken, which says nothing about the other: there both share one core and are always busy."""
    ratios, costs = [], []
    for _ in range(rounds):
        alone = [_cost(server, dim, seconds) for server in ones]
        together = _cost(two, dim, seconds)
        ratios.append(2 * mean(alone) / together)
        costs.append([*alone, together])
    *alone, together = (f"{median(c):.1f}" for c in zip(*costs))
    detail = f"us CPU a request: one {' and '.join(alone)}, two {together}"
    return Row(f"two workers, {title}, {dim}-D", median(ratios), "times one", 1.8, least=True, detail=detail)


def _cost(server: Server, dim: int, seconds: float) -> float:
    paths = {bodies.path_of(bodies.SIZES[dim]): bodies.file_of(dim)}
    load(server.port, paths, connections=4, requests=bodies.BODIES)
    before = server.cpu()
    run = load(server.port, paths, CLIENTS, seconds)
    return (server.cpu() - before) / run.requests * 1e6


def _models(server: Server, rounds: int, seconds: float) -> Row:
    paths = {bodies.path_of(model): bodies.file_of(dim) for model, dim in bodies.MODELS.items()}
    load(server.port, paths, connections=4, requests=bodies.BODIES * len(paths), seconds=60)
    rates = [load(server.port, paths, 32, seconds, cores=BOTH).rate for _ in range(rounds)]
    detail = f"{len(paths)} models in turn, 2 workers, load on the same {len(BOTH)} cores"
    return Row("all models warm, operations a second", median(rates), "ops/s", 10000, least=True, detail=detail)
