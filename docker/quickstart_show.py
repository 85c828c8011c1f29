"""Shows what quiver does: a search, the same from memory, a rewritten one.

quickstart_show.py ENGINE_URL QUIVER_URL
"""

import json
import statistics
import sys

from quickstart_lib import Failed, Server, Target, engine, made_here, models, target

ASKED = 20
BYPASS = {"cache-control": "no-store"}


def ids(doc: dict) -> list:
    return [p["id"] for p in doc["result"]["points"]]


def show_cache(quiver: Server, t: Target) -> None:
    body = t.body(t.queries(1)[0])
    print(f"A search: POST {quiver.url}{t.path}, {t.size} dimensions")
    for what in ("asked     ", "asked again"):
        a = quiver.ok("POST", t.path, body)
        said = f"Cache-Status: {a.cache or '(none)'}"
        print(f"  {what:<12} {a.seconds * 1000:7.2f} ms   {said:<52} ids {ids(a.json())[:4]}...")


def show_rewrite(direct: Server, quiver: Server, t: Target) -> None:
    ways = {
        "Qdrant alone": (direct, None, {}),
        "through quiver": (quiver, None, BYPASS),
        "Qdrant, told so": (direct, t.model.search, {}),
    }
    found: dict[str, list] = {name: [] for name in ways}
    took: dict[str, list] = {name: [] for name in ways}
    exact = []
    for vector in t.queries(ASKED):
        exact.append(set(ids(direct.ok("POST", t.path, t.body(vector, {"exact": True})).json())))
        for name, (server, params, headers) in ways.items():
            a = server.ok("POST", t.path, t.body(vector, params), headers)
            found[name].append(ids(a.json()))
            took[name].append(a.json()["time"] * 1000)
    print(f"\nRewritten: {ASKED} searches in {t.model.collection} that set no parameter; quiver adds")
    print(f"  {json.dumps(t.model.search)}")
    for name in ways:
        hits = sum(len(right & set(got)) for right, got in zip(exact, found[name]))
        total = sum(len(right) for right in exact) or 1
        middle = statistics.median(took[name])
        print(f"  {name:<16} {middle:7.2f} ms in the engine   recall@10 {hits / total:.3f}")
    same = sum(a == b for a, b in zip(found["through quiver"], found["Qdrant, told so"]))
    print(f"  {same} of {ASKED} answers through quiver are those of Qdrant told the same")


def main() -> int:
    direct, quiver = engine(sys.argv[1]), Server(sys.argv[2], engine(sys.argv[1]).key)
    every = models(sys.argv[1])
    if not every:
        print("  conf/ names no models")
        return 0
    made = made_here(sys.argv[1])
    t = target(direct, every[0], every[0].collection in made)
    show_cache(quiver, t)
    show_rewrite(direct, quiver, t)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"quickstart: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
