"""Makes the models' collections that are missing and fills them with sample vectors.

    quickstart_seed.py ENGINE_URL own|foreign

own: the engine's data belongs to the quickstart, a collection left half full is made anew.
foreign: what exists is used as it is.
"""

import sys
import time

from quickstart_lib import POINTS, Failed, Model, Server, engine, models, note_made, sample

BATCH_BYTES = 4 << 20


def settings(model: Model) -> dict:
    """As the model's indexing settings wish; thresholds so low that the points get a graph, and use it."""
    params = model.indexing.get("index_params", {})
    quantization = dict(model.indexing.get("quantization", {}))
    doc = {
        "vectors": {"size": model.size, "distance": "Cosine"},
        "hnsw_config": {"full_scan_threshold": 10, **params},
        "optimizers_config": {"indexing_threshold": 1000},
    }
    if quantization.get("type") == "scalar":
        always = quantization.get("always_ram", True)
        doc["quantization_config"] = {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": always}}
    return doc


def fill(server: Server, model: Model) -> None:
    path = f"/collections/{model.collection}/points"
    vectors = sample(model.size, POINTS, 1)
    step = max(50, BATCH_BYTES // (model.size * 12))
    for first in range(0, POINTS, step):
        ids = range(first, min(first + step, POINTS))
        points = [{"id": i, "vector": vectors[i], "payload": {"n": i, "even": i % 2 == 0}} for i in ids]
        server.ok("PUT", path + "?wait=true", {"points": points})


def exists(server: Server, model: Model) -> bool:
    return server.ok("GET", f"/collections/{model.collection}/exists").json()["result"]["exists"]


def is_whole(server: Server, model: Model) -> bool:
    count = server.ok("POST", f"/collections/{model.collection}/points/count", {"exact": True})
    config = server.ok("GET", f"/collections/{model.collection}").json()["result"]["config"]
    wished = model.indexing.get("index_params", {})
    as_wished = all(config["hnsw_config"].get(k) == v for k, v in wished.items())
    size = config["params"]["vectors"].get("size")
    return count.json()["result"]["count"] == POINTS and size == model.size and as_wished


def make(server: Server, model: Model) -> bool:
    """False if it came into being meanwhile, by another hand."""
    answer = server.ask("PUT", f"/collections/{model.collection}", settings(model))
    if answer.status == 409:
        return False
    if answer.status != 200:
        raise Failed(f"cannot create collection {model.collection}: {answer.status} {answer.body[:300]!r}")
    note_made(server.url, model.collection)
    print(f"  {model.collection}: {POINTS} vectors of {model.size} dimensions", flush=True)
    fill(server, model)
    return True


def wait_green(server: Server, names: list[str]) -> None:
    until = time.monotonic() + 300
    for name in names:
        while server.ok("GET", f"/collections/{name}").json()["result"]["status"] != "green":
            if time.monotonic() > until:
                raise Failed(f"collection {name} is not green after 300 s")
            time.sleep(0.2)


def main() -> int:
    url, whose = sys.argv[1], sys.argv[2]
    server, begin, made, used = engine(url), time.monotonic(), [], []
    for model in models(url):
        if exists(server, model):
            if whose == "foreign" or is_whole(server, model):
                used.append(model.collection)
                continue
            server.ok("DELETE", f"/collections/{model.collection}")
        (made if make(server, model) else used).append(model.collection)
    wait_green(server, made)
    if made:
        took = time.monotonic() - begin
        print(f"  {len(made)} collections made and indexed in {took:.0f} s")
    if used:
        print(f"  {len(used)} collections were there: {' '.join(used)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"quickstart: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
