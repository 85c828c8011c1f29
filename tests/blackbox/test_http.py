"""What passes through and how it looks on the other side."""

import gzip
import json
import threading

import pytest
from lib import Conn, FakeQdrant, Quiver, head_of, wait_until

SEARCH = "/collections/anything/points/search"
BODY = b'{"vector":[0.1,0.2],"limit":3}'


def test_a_connection_serves_many_requests_in_turn(quiver: Quiver, fake: FakeQdrant) -> None:
    with quiver.conn() as c:
        for n in range(50):
            r = c.post(SEARCH, {"vector": [n, 1.0], "limit": 1})
            assert r.status == 200 and r.json()["status"] == "ok"
    assert [q.json()["vector"][0] for q in fake.requests] == list(range(50))


def test_upstream_connections_are_reused(quiver: Quiver, fake: FakeQdrant) -> None:
    with quiver.conn() as c:
        for _ in range(20):
            assert c.post(SEARCH, {"vector": [1.0], "limit": 1}).status == 200
    assert len({q.connection for q in fake.requests}) == 1


def test_pipelined_requests_are_answered_in_order(quiver: Quiver, fake: FakeQdrant) -> None:
    first_may_go = threading.Event()

    def answer(x) -> None:
        if x.request.target.endswith("?n=0"):
            x.wait(first_may_go)
        x.ok({"said": x.request.query})

    fake.handler = answer
    with quiver.conn() as c:
        c.send(b"".join(head_of("GET", f"/telemetry?n={n}") for n in range(8)))
        wait_until(lambda: fake.requests, what="the first request upstream")
        first_may_go.set()
        assert [c.read().json()["result"]["said"] for _ in range(8)] == [f"n={n}" for n in range(8)]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_pipelines_and_hangs_up_frees_its_place(quiver: Quiver, fake: FakeQdrant, how: str) -> None:
    """What waits in the socket hides the end behind it."""
    fake.handler = lambda x: x.wait_for_hang_up()
    c = quiver.conn()
    c.send(head_of("GET", "/telemetry"))
    wait_until(lambda: fake.requests, what="the first request upstream")
    c.send(head_of("GET", "/collections/x"))
    threading.Event().wait(0.3)  # it is looked at, and left where it is
    c.reset() if how == "reset" else c.close()
    wait_until(lambda: fake.open_now == 0, 5, "the upstream connection is given up")
    wait_until(lambda: quiver.metric("quiver_client_connections") == 0, 5, "and the client's")
    assert [r.target for r in fake.requests] == ["/telemetry"]
    fake.handler = None
    assert quiver.ask("GET", "/collections/x").status == 200


def test_a_pipelining_client_that_stays_is_waited_for(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: threading.Event().wait(1.3) and None
    with quiver.conn() as c:
        c.send(head_of("GET", "/telemetry"))
        wait_until(lambda: fake.requests, what="the first request upstream")
        c.send(head_of("GET", "/collections/x"))
        assert c.read().status == 200
        assert c.read().status == 200


def test_pipelined_requests_with_bodies_keep_their_bodies(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.ok({"n": x.request.json()["n"]})
    with quiver.conn() as c:
        for n in range(10):
            body = json.dumps({"n": n, "pad": "x" * (n * 1000)}).encode()
            c.send(head_of("POST", SEARCH, {"Content-Length": str(len(body))}) + body)
        assert [c.read().json()["result"]["n"] for _ in range(10)] == list(range(10))


def test_a_request_in_single_bytes_arrives_whole(quiver: Quiver, fake: FakeQdrant) -> None:
    raw = (
        head_of("POST", SEARCH, {"Content-Length": str(len(BODY)), "Content-Type": "application/json"}) + BODY
    )
    with quiver.conn() as c:
        for n in range(len(raw)):
            c.send(raw[n : n + 1])
        assert c.read().status == 200
    assert fake.last.body == BODY and fake.last.target == SEARCH


def test_http_1_0_closes_after_its_answer(quiver: Quiver) -> None:
    with quiver.conn() as c:
        c.send(b"GET /collections/x HTTP/1.0\r\n\r\n")
        r = c.read()
        assert r.status == 200 and r.json()["status"] == "ok"
        assert c.is_closed()


def test_http_1_0_with_keep_alive_stays_open(quiver: Quiver) -> None:
    with quiver.conn() as c:
        for _ in range(3):
            c.send(b"GET /collections/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            r = c.read()
            assert r.status == 200 and (r.get("connection") or "").lower() == "keep-alive"
        assert not c.is_closed(0.2)


def test_a_chunked_answer_reaches_http_1_0_without_chunks(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.chunked([b"one,", b"two"])
    with quiver.conn() as c:
        c.send(b"GET /metrics HTTP/1.0\r\n\r\n")
        r = c.read()
        assert (r.body, r.framing) == (b"one,two", "close")


def test_connection_close_is_obeyed(quiver: Quiver) -> None:
    with quiver.conn() as c:
        r = c.ask("GET", "/collections/x", headers={"Connection": "close"})
        assert r.status == 200 and (r.get("connection") or "").lower() == "close"
        assert c.is_closed()


@pytest.mark.parametrize("path", [SEARCH, "/collections/x/points?wait=true"])
def test_a_chunked_request_body_arrives_whole(quiver: Quiver, fake: FakeQdrant, path: str) -> None:
    pieces = [b'{"vector":[', b"0.25," * 20000 + b"1", b'],"limit":3}']
    with quiver.conn() as c:
        c.send(head_of("PUT" if "wait" in path else "POST", path, {"Transfer-Encoding": "chunked"}))
        for p in pieces:
            c.send(b"%x;ext=1\r\n%s\r\n" % (len(p), p))
        c.send(b"0\r\nX-Trailer: dropped\r\n\r\n")
        assert c.read().status == 200
    assert fake.last.body == b"".join(pieces)
    assert b"X-Trailer" not in fake.last.raw


def test_a_chunked_answer_arrives_whole(quiver: Quiver, fake: FakeQdrant) -> None:
    pieces = [b"a" * 10, b"b" * 100000, b"c"]
    fake.handler = lambda x: x.chunked(pieces)
    assert quiver.ask("GET", "/collections/x/snapshots/s").body == b"".join(pieces)


def test_a_streamed_answer_is_not_held_back(quiver: Quiver, fake: FakeQdrant) -> None:
    rest = threading.Event()

    def slow(x) -> None:
        x.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        x.wait(rest)
        x.send(b"3\r\ntwo\r\n0\r\n\r\n")

    fake.handler = slow
    with quiver.conn() as c:
        c.send(head_of("GET", "/metrics"))
        c.read_head()
        wait_until(lambda: b"one" in c.buffer or c._more(), what="the first chunk before the last is sent")
        rest.set()
        assert c._chunked() == b"onetwo"


def test_an_answer_until_close_arrives_whole(quiver: Quiver, fake: FakeQdrant) -> None:
    def answer(x) -> None:
        x.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n" + b"z" * 300000)
        x.close()

    fake.handler = answer
    with quiver.conn() as c:
        for _ in range(3):
            c.send(head_of("GET", "/metrics"))
            assert c.read().body == b"z" * 300000
            if c.closed:
                c = quiver.conn()


def test_expect_100_continue_is_answered_before_the_body(quiver: Quiver, fake: FakeQdrant) -> None:
    for path in (SEARCH, "/collections/x/points?wait=true"):
        with quiver.conn() as c:
            c.send(
                head_of(
                    "PUT" if "wait" in path else "POST",
                    path,
                    {"Expect": "100-continue", "Content-Length": str(len(BODY))},
                )
            )
            assert c.read_interim().status == 100
            assert c.send(BODY).read().status == 200
        assert fake.last.body == BODY


def test_expect_100_continue_with_the_body_at_once_gets_one_final_answer(
    quiver: Quiver, fake: FakeQdrant
) -> None:
    with quiver.conn() as c:
        c.send(head_of("POST", SEARCH, {"Expect": "100-continue", "Content-Length": str(len(BODY))}) + BODY)
        assert c.read().status == 200
        assert c.post(SEARCH, BODY).status == 200


def test_an_interim_answer_of_upstream_is_no_answer(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.send(
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    )
    with quiver.conn() as c:
        for _ in range(2):
            assert c.ask("GET", "/metrics").body == b"ok"


def test_head_has_no_body_and_keeps_the_length(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, b"x" * 1234, content_type="text/html")
    with quiver.conn() as c:
        for _ in range(2):
            r = c.ask("HEAD", "/dashboard/index.html")
            assert r.status == 200 and r.get("content-length") == "1234" and r.body == b""
    assert fake.last.method == "HEAD"


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body_have_none(quiver: Quiver, fake: FakeQdrant, status: int) -> None:
    fake.handler = lambda x: x.reply(status, b"", headers=[("etag", '"a"')], content_type="")
    with quiver.conn() as c:
        for _ in range(2):
            r = c.ask("GET", "/dashboard/app.js", headers={"If-None-Match": '"a"'})
            assert r.status == status and r.get("etag") == '"a"' and not r.get("transfer-encoding")
    assert fake.last.get("if-none-match") == '"a"'


def test_options_with_cors_passes(quiver: Quiver, fake: FakeQdrant) -> None:
    cors = [
        ("access-control-allow-origin", "http://app.example"),
        ("access-control-allow-methods", "GET, POST"),
        ("vary", "Origin, Access-Control-Request-Method"),
    ]
    fake.handler = lambda x: x.reply(200, b"", headers=cors, content_type="")
    r = quiver.ask(
        "OPTIONS", SEARCH, headers={"Origin": "http://app.example", "Access-Control-Request-Method": "POST"}
    )
    assert r.status == 200 and [(n, v) for n, v in r.headers if n in dict(cors)] == cors
    assert fake.last.method == "OPTIONS" and fake.last.get("origin") == "http://app.example"


def test_range_and_etag_pass_both_ways(quiver: Quiver, fake: FakeQdrant) -> None:
    extra = [
        ("content-range", "bytes 0-3/10"),
        ("accept-ranges", "bytes"),
        ("etag", '"tag"'),
        ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ]
    fake.handler = lambda x: x.reply(206, b"data", headers=extra, content_type="application/octet-stream")
    r = quiver.ask(
        "GET", "/collections/x/snapshots/s.snapshot", headers={"Range": "bytes=0-3", "If-Range": '"tag"'}
    )
    assert r.status == 206 and r.body == b"data" and [h for h in r.headers if h in extra] == extra
    assert fake.last.get("range") == "bytes=0-3" and fake.last.get("if-range") == '"tag"'


def test_a_multipart_upload_passes_byte_for_byte(quiver: Quiver, fake: FakeQdrant) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="snapshot"; filename="s"\r\n\r\n'
        + bytes(range(256)) * 8000
        + b"\r\n--b--\r\n"
    )
    r = quiver.ask(
        "POST",
        "/collections/x/snapshots/upload?priority=snapshot",
        body,
        {"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert r.status == 200
    assert fake.last.body == body and fake.last.get("content-type") == "multipart/form-data; boundary=b"
    assert fake.last.target == "/collections/x/snapshots/upload?priority=snapshot"


def test_hop_by_hop_fields_stop_here(quiver: Quiver, fake: FakeQdrant) -> None:
    answer_hops = [
        ("connection", "x-inner"),
        ("x-inner", "secret"),
        ("keep-alive", "timeout=5"),
        ("x-outer", "kept"),
    ]
    fake.handler = lambda x: x.reply(200, b"ok", headers=answer_hops)
    r = quiver.ask(
        "GET",
        "/telemetry",
        headers={
            "Connection": "keep-alive, X-Mine",
            "X-Mine": "1",
            "Keep-Alive": "timeout=9",
            "Proxy-Connection": "keep-alive",
            "TE": "trailers",
            "Proxy-Authorization": "Basic eA==",
            "Upgrade": "websocket",
            "X-Other": "kept",
        },
    )
    names = {n.lower() for n, _ in fake.last.headers}
    assert not names & {"x-mine", "keep-alive", "proxy-connection", "te", "proxy-authorization", "upgrade"}
    assert fake.last.get("x-other") == "kept"
    assert r.get("x-outer") == "kept" and r.get("x-inner") is None and r.get("keep-alive") is None


def test_upgrade_is_never_forwarded(quiver: Quiver, fake: FakeQdrant) -> None:
    r = quiver.ask(
        "GET",
        "/collections/x",
        headers={"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"},
    )
    assert r.status == 200
    assert not {n.lower() for n, _ in fake.last.headers} & {"upgrade", "http2-settings"}
    assert "upgrade" not in (fake.last.get("connection") or "").lower()


def test_x_forwarded_for_is_set(quiver: Quiver, fake: FakeQdrant) -> None:
    assert quiver.ask("GET", "/collections/x").status == 200
    assert fake.last.all("x-forwarded-for") == ["127.0.0.1"]
    assert fake.last.get("forwarded") is None


def test_x_forwarded_for_is_appended_to(quiver: Quiver, fake: FakeQdrant) -> None:
    quiver.ask("GET", "/collections/x", headers={"X-Forwarded-For": "10.1.2.3, 10.4.5.6"})
    assert ", ".join(fake.last.all("x-forwarded-for")).replace(" ", "") == "10.1.2.3,10.4.5.6,127.0.0.1"


def test_forwarded_is_appended_to_where_it_came(quiver: Quiver, fake: FakeQdrant) -> None:
    quiver.ask("GET", "/collections/x", headers={"Forwarded": "for=10.1.2.3;proto=https"})
    got = ", ".join(fake.last.all("forwarded"))
    assert got.startswith("for=10.1.2.3;proto=https") and "for=127.0.0.1" in got.split("https")[1].replace(
        '"', ""
    )


def test_end_to_end_fields_keep_spelling_order_and_value(quiver: Quiver, fake: FakeQdrant) -> None:
    sent = [
        ("X-Request-ID", "abc"),
        ("api-KEY", "k 1"),
        ("X-Empty", ""),
        ("Accept", "a/b"),
        ("x-twice", "1"),
        ("X-Twice", "2"),
        ("traceparent", "00-1-2-01"),
        ("X-Utf", "\xc3\xa4"),
        ("OpenAI-Api-Key", "zzz"),
    ]
    with quiver.conn() as c:
        c.send(head_of("GET", "/collections/x", sent))
        assert c.read().status == 200
    names = {n.lower() for n, _ in sent}
    assert [(n, v) for n, v in fake.last.headers if n.lower() in names] == sent


def test_the_host_field_arrives_as_sent(quiver: Quiver, fake: FakeQdrant) -> None:
    quiver.ask("GET", "/collections/x", headers={"Host": "vectors.example:6333"})
    assert fake.last.all("host") == ["vectors.example:6333"]


@pytest.mark.parametrize("method", ["GET", "PROPFIND", "X-WILD_m~thod", "get", "PATCH", "DELETE"])
def test_any_token_is_a_method(quiver: Quiver, fake: FakeQdrant, method: str) -> None:
    fake.handler = lambda x: x.reply(404, b"", content_type="")
    assert quiver.ask(method, "/unknown/path").status == 404
    assert fake.last.method == method


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/healthz",
        "/livez",
        "/readyz",
        "/telemetry",
        "/metrics",
        "/dashboard",
        "/dashboard/assets/a.js?v=1",
        "/nope",
        "/a//b/../c/./d",
        "/collections/%63/points/1?x=%20&&y",
        "/collections/c%2Fd",
        "/?",
        "/x?a?b",
    ],
)
def test_what_qdrant_serves_passes_with_the_target_as_sent(
    quiver: Quiver, fake: FakeQdrant, target: str
) -> None:
    fake.handler = lambda x: x.reply(
        418, b"\x00\xff any bytes", headers=[("x-from", "upstream")], content_type="weird/type", reason="I am"
    )
    r = quiver.ask("GET", target)
    assert (r.status, r.body, r.get("x-from"), r.get("content-type")) == (
        418,
        b"\x00\xff any bytes",
        "upstream",
        "weird/type",
    )
    assert fake.last.target == target


def test_answers_keep_their_fields(quiver: Quiver, fake: FakeQdrant) -> None:
    sent = [
        ("Vary", "Origin"),
        ("X-Frame-Options", "DENY"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("Retry-After", "20"),
    ]
    fake.handler = lambda x: x.reply(429, {"status": {"error": "slow down"}, "time": 0.0}, headers=sent)
    r = quiver.post(SEARCH, BODY)
    assert r.status == 429 and [(n, v) for n, v in r.headers if (n, v) in sent] == sent


def test_accept_encoding_is_untouched_where_quiver_reads_no_answer(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    body = gzip.compress(b"metrics")
    fake.handler = lambda x: x.reply(
        200,
        body,
        headers=[("content-encoding", "gzip"), ("vary", "accept-encoding")],
        content_type="text/plain",
    )
    for method, target in (
        ("GET", "/metrics"),
        ("GET", "/collections/x/snapshots/s"),
        ("PUT", "/collections/x"),
        ("PUT", "/collections/x/snapshots/recover"),
        ("GET", "/collections"),
    ):
        r = q.ask(method, target, b"{}" if method == "PUT" else None, {"Accept-Encoding": "gzip, br;q=0.5"})
        assert fake.last.all("accept-encoding") == ["gzip, br;q=0.5"], target
        assert r.body == body and r.get("content-encoding") == "gzip"


def test_cacheable_reads_ask_for_identity(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    r = q.post(SEARCH, BODY, {"Accept-Encoding": "gzip, br"})
    assert r.status == 200 and r.get("content-encoding") is None and r.json()["status"] == "ok"
    assert fake.last.all("accept-encoding") in ([], ["identity"])


@pytest.mark.parametrize("method, target", [("PUT", "points"), ("POST", "points/batch"), ("PUT", "index"), ("POST", "unheard/of")])
def test_writes_whose_answer_says_what_became_of_them_ask_for_identity(quiver: Quiver, fake: FakeQdrant, method, target) -> None:
    r = quiver.ask(method, f"/collections/x/{target}", b"{}", {"Accept-Encoding": "gzip, deflate, br, zstd"})
    assert r.status == 200 and fake.last.all("accept-encoding") == ["identity"]


def test_a_get_with_a_body_passes(quiver: Quiver, fake: FakeQdrant) -> None:
    with quiver.conn() as c:
        for _ in range(2):
            assert c.ask("GET", "/collections/x", b"body here").status == 200
    assert fake.last.body == b"body here"


def test_a_leading_crlf_is_skipped(quiver: Quiver) -> None:
    with quiver.conn() as c:
        c.send(b"\r\n" + head_of("GET", "/collections/x"))
        assert c.read().status == 200


def test_a_unix_socket_and_ipv6_listen_too(fake: FakeQdrant, start, tmp_path) -> None:
    q = start(fake.url, flags=["--listen", f"unix:{tmp_path}/q.sock"])
    with Conn(f"{tmp_path}/q.sock") as c:
        assert c.ask("GET", "/collections/x").status == 200
    assert q.ask("GET", "/collections/x").status == 200


def test_large_bodies_pass_both_ways(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, x.request.body, content_type="application/octet-stream")
    body = bytes(range(256)) * 16384
    assert quiver.ask("PUT", "/collections/x/points?wait=true", body).body == body
    assert quiver.ask("POST", SEARCH, body).body == body


def test_the_upstream_key_goes_only_with_quivers_own_requests(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"upstream": {"api_key": "very-secret-key"}}, flags=["--cache", "off"])
    q.ask("GET", "/collections/x", headers={"api-key": "the clients"})
    q.post(SEARCH, BODY)
    assert fake.seen(path="/collections/x")[0].all("api-key") == ["the clients"]
    assert all("very-secret-key" not in v for r in fake.requests for _, v in r.headers)
    assert any(own.path == "/telemetry" for own in fake.own)
    for own in fake.own:
        assert own.get("api-key") == "very-secret-key"
    assert "very-secret-key" not in q.stderr and b"very-secret-key" not in q.control("GET", "/metrics").body
