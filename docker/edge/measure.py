"""How many operations per second the stand-in does: fills two collections, searches them, says what came out.

    build/venv/bin/python docker/edge/measure.py [--url 127.0.0.1:16333] [--seconds 2]

Works in collections of its own (edge_measure_*), which it removes. Takes about 20 seconds.
"""
import argparse
import asyncio
import time

import numpy as np
import orjson

POINTS, SIZES, CLIENTS = 2000, (384, 4096), (1, 8)
SETTINGS = {"hnsw_config": {"full_scan_threshold": 10}, "optimizers_config": {"indexing_threshold": 1000}}


async def call(pipe, method: str, path: str, doc=None) -> bytes:
    """One request on a kept connection; the answer's body. Raises on anything but 200."""
    reader, writer = pipe
    body = orjson.dumps(doc, option=orjson.OPT_SERIALIZE_NUMPY) if doc is not None else b""
    writer.write(
        f"{method} {path} HTTP/1.1\r\nhost: edge\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    )
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")
    )
    answer = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{method} {path}: {head[:40]!r} {answer[:200]!r}")
    return answer


async def fill(pipe, path: str, size: int) -> float:
    """Creates and loads a collection, waits for its graph; returns points per second of the upserts."""
    vectors = np.random.default_rng(size).standard_normal((POINTS, size), dtype=np.float32)
    await call(pipe, "PUT", path, {"vectors": {"size": size, "distance": "Cosine"}, **SETTINGS})
    start = time.perf_counter()
    for first in range(0, POINTS, 100):
        points = [{"id": i, "vector": vectors[i]} for i in range(first, first + 100)]
        await call(pipe, "PUT", path + "/points?wait=true", {"points": points})
    rate = POINTS / (time.perf_counter() - start)
    while orjson.loads(await call(pipe, "GET", path))["result"]["status"] != "green":
        await asyncio.sleep(0.1)
    return rate


async def search(host: str, port: int, path: str, bodies: list, until: float) -> int:
    reader, writer = pipe = await asyncio.open_connection(host, port, limit=1 << 22)
    done = 0
    while time.perf_counter() < until:
        writer.write(bodies[done % len(bodies)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        done += head.startswith(b"HTTP/1.1 200")
    pipe[1].close()
    return done


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="127.0.0.1:16333")
    parser.add_argument("--seconds", type=float, default=2)
    args = parser.parse_args()
    host, port = args.url.split(":")[0], int(args.url.split(":")[1])
    for size in SIZES:
        pipe = await asyncio.open_connection(host, port, limit=1 << 22)
        path = f"/collections/edge_measure_{size}"
        await call(pipe, "DELETE", path)
        print(f"{size}-D upsert in hundreds: {await fill(pipe, path, size):.0f} points/s")
        queries = np.random.default_rng(1).standard_normal((16, size), dtype=np.float32)
        bodies = []
        for vector in queries:
            doc = {"vector": vector, "limit": 10, "params": {"hnsw_ef": 64}}
            body = orjson.dumps(doc, option=orjson.OPT_SERIALIZE_NUMPY)
            bodies.append(b"POST %b/points/search HTTP/1.1\r\nhost: edge\r\ncontent-length: %d\r\n\r\n%b"
                          % (path.encode(), len(body), body))
        for clients in CLIENTS:
            until = time.perf_counter() + args.seconds
            done = await asyncio.gather(
                *(search(host, int(port), path, bodies, until) for _ in range(clients))
            )
            print(f"{size}-D search, ef 64, {clients} clients: {sum(done) / args.seconds:.0f} /s")
        pipe[1].close()
        pipe = await asyncio.open_connection(host, port, limit=1 << 22)
        await call(pipe, "DELETE", path)


if __name__ == "__main__":
    asyncio.run(main())
