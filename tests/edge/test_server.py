"""Transport: paths, methods, bodies, compression, limits, telemetry, stopping."""
import gzip
import json
import socket
import subprocess
import sys
import time
import zlib

import pytest

from .conftest import ROOT

SEARCH = "/collections/web/points/search"
BODY = {"vector": [1.0, 0.0], "limit": 1}


@pytest.fixture(scope="module", autouse=True)
def collection(edge):
    edge.result("PUT", "/collections/web", {"vectors": {"size": 2, "distance": "Dot"}})
    points = [{"id": 1, "vector": [1, 0]}, {"id": 2, "vector": [0, 1]}]
    edge.result("PUT", "/collections/web/points?wait=true", {"points": points})


def exchange(edge, raw):
    """Raw bytes out, everything that comes back until the server closes or is silent for 300 ms."""
    with socket.create_connection(("127.0.0.1", edge.port)) as sock:
        sock.sendall(raw)
        sock.settimeout(0.3)
        got = b""
        try:
            while chunk := sock.recv(65536):
                got += chunk
        except TimeoutError:
            pass
    return got


@pytest.mark.parametrize(
    "path", [SEARCH, "//collections//web//points/search/", "/collections/%77eb/points/search"]
)
def test_path_is_normalised(edge, path):
    body = json.dumps(BODY).encode()
    got = exchange(
        edge,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body),
    )
    assert got.startswith(b"HTTP/1.1 200") and b'"id":1' in got


@pytest.mark.parametrize("method,path", [("GET", "/nope"), ("PATCH", SEARCH), ("HEAD", "/collections"),
                                         ("OPTIONS", SEARCH), ("DELETE", "/"), ("POST", "/collections")])
def test_unknown_is_404_and_empty(edge, method, path):
    answer = edge.client.request(method, path)
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (404, b"", "0")


@pytest.mark.parametrize("coding,packed", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_request(edge, coding, packed):
    headers = {"content-encoding": coding}
    answer = edge.client.post(SEARCH, content=packed(json.dumps(BODY).encode()), headers=headers)
    assert answer.json()["result"][0]["id"] == 1


def test_broken_compressed_request(edge):
    whole = gzip.compress(json.dumps(BODY).encode())
    for content in (whole[:-9], b"no gzip"):
        answer = edge.client.post(SEARCH, content=content, headers={"content-encoding": "gzip"})
        assert answer.status_code == 400 and "error" in answer.json()["status"]


def test_compressed_answer(edge):
    answer = edge.client.post(SEARCH, json=BODY, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip" and answer.headers["vary"].startswith(
        "accept-encoding"
    )
    assert answer.json()["result"][0]["id"] == 1
    refused = edge.client.post(SEARCH, json=BODY, headers={"accept-encoding": "identity;q=0"})
    assert refused.status_code == 406


def test_chunked_pipelined_and_http10(edge):
    body = json.dumps(BODY).encode()
    chunked = (b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
               % (SEARCH.encode(), len(body), body))
    got = exchange(edge, chunked + b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    assert got.index(b'"id":1') < got.index(b"healthz check passed")
    assert b"200 OK" in exchange(edge, b"GET /readyz HTTP/1.0\r\n\r\n")


def test_a_cut_body_does_nothing(edge):
    """A whole document, but the chunked body never ends: it must not be applied."""
    body = b'{"points":[{"id":70,"vector":[1,0]}]}'
    head = b"PUT /collections/web/points?wait=true HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    exchange(edge, head + b"%x\r\n%b\r\n" % (len(body), body))
    assert edge.error("GET", "/collections/web/points/70")[0] == 404


def test_body_over_the_limit(edge):
    size = 32 * 1024 * 1024 + 1
    answer = edge.client.post(SEARCH, content=b" " * size)
    assert answer.status_code == 400
    assert answer.json()["status"]["error"] == (f"JSON payload ({size} bytes) is larger than allowed "
                                                f"(limit: {size - 1} bytes).")


def test_cors(edge):
    answer = edge.client.get("/collections", headers={"origin": "http://app.example"})
    assert answer.headers["access-control-allow-origin"] == "http://app.example"
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize(
    "query,status",
    [
        ("wait=true", 200),
        ("wait=TRUE", 400),
        ("wait=", 400),
        ("timeout=0", 200),
        ("wait=true&wait=true", 400),
        ("ordering=odd", 400),
        ("unknown=1", 200),
    ],
)
def test_write_parameters(edge, query, status):
    assert edge.call("POST", f"/collections/web/points/delete?{query}", {"points": [99]})[0] == status


def test_acknowledged_unless_waited_for(edge):
    points = {"points": [{"id": 2, "vector": [0, 1]}]}
    assert edge.result("PUT", "/collections/web/points", points)["status"] == "acknowledged"
    assert edge.result("PUT", "/collections/web/points?wait=true", points)["status"] == "completed"


def test_idle_connections_close_after_five_seconds(edge):
    with socket.create_connection(("127.0.0.1", edge.port)) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        sock.settimeout(8)
        got = b""
        while not got.endswith(b"healthz check passed"):
            got += sock.recv(4096)
        start = time.monotonic()
        assert sock.recv(1) == b"" and 4 < time.monotonic() - start < 7


def test_a_second_server_is_refused(edge, tmp_path):
    """Same directory, then same port: an exit code and a word why, the first one unharmed."""
    script = str(ROOT / "docker/edge/serve.py")
    for data, port, code, why in ((edge.data, 1, 1, "in use"), (tmp_path, edge.port, 3, "already in use")):
        command = [sys.executable, script, "--port", str(port), "--data", str(data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert done.returncode == code and why in done.stderr and "ready" not in done.stdout, done
    assert edge.call("GET", "/readyz") == (200, "all shards are ready")


def test_telemetry_follows_operations(edge):
    last = edge.result("PUT", "/collections/web/points", {"points": [{"id": 2, "vector": [0, 1]}]})[
        "operation_id"
    ]
    report = edge.result("GET", "/telemetry?details_level=3")
    shards = next(c for c in report["collections"]["collections"] if c["id"] == "web")["shards"]
    assert shards[0]["local"]["update_queue"] == {"length": 0, "op_num": last}
    assert report["app"]["startup"].endswith("Z")
    assert "collections" not in edge.result("GET", "/telemetry")["collections"]


def test_service_routes(edge):
    status, root = edge.call("GET", "/")
    assert status == 200 and list(root) == ["title", "version", "commit"] and "stand-in" in root["commit"]
    assert edge.result("GET", "/cluster") == {"status": "disabled"}
    assert "collections_total" in edge.call("GET", "/metrics")[1]
    assert edge.result("GET", "/collections/web/cluster")["local_shards"][0]["points_count"] == 2


def test_snapshots(edge):
    made = edge.result("POST", "/collections/web/snapshots")
    path = f"/collections/web/snapshots/{made['name']}"
    assert edge.result("GET", "/collections/web/snapshots") == [made]
    whole = edge.client.get(path)
    assert len(whole.content) == made["size"] and whole.headers["etag"]
    part = edge.client.get(path, headers={"range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole.content[10:20]
    assert edge.result("DELETE", path) is True
    assert edge.error("GET", path)[0] == 404
    assert edge.error("PUT", "/collections/web/snapshots/recover", {"location": "file:///x"})[0] == 501
