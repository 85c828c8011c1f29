"""What is ambiguous is refused and the connection closed; nothing of it reaches Qdrant.
And the same on the answers' side."""

import threading

import pytest
from lib import Conn, ConnClosed, FakeQdrant, Quiver, head_of, wait_until

SEARCH = b"/collections/x/points/search"
SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: h\r\n\r\n"
OK_HEAD = b"POST " + SEARCH + b" HTTP/1.1\r\nHost: h\r\n"


def get(fields: bytes, line: bytes = b"GET /collections/x HTTP/1.1") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


def post(fields: bytes, body: bytes = b"") -> bytes:
    return OK_HEAD + fields + b"\r\n" + body


H = b"Host: h\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

# name, what is sent (a whole GET follows it), the status
HEADS = [
    # framing
    ("two equal lengths", post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), 400),
    ("two different lengths", post(b"Content-Length: 5\r\nContent-Length: 3\r\n", b"hello"), 400),
    ("a list of equal lengths", post(b"Content-Length: 5, 5\r\n", b"hello"), 400),
    ("a length with a plus", post(b"Content-Length: +5\r\n", b"hello"), 400),
    ("a negative length", post(b"Content-Length: -1\r\n"), 400),
    ("a hexadecimal length", post(b"Content-Length: 0x5\r\n", b"hello"), 400),
    ("an empty length", post(b"Content-Length: \r\n"), 400),
    ("a length with a blank inside", post(b"Content-Length: 1 0\r\n", b"hello"), 400),
    ("a length in letters", post(b"Content-Length: five\r\n", b"hello"), 400),
    ("a length with a fraction", post(b"Content-Length: 5.0\r\n", b"hello"), 400),
    ("a length of 2^64", post(b"Content-Length: 18446744073709551616\r\n"), 400),
    ("a length of 3e19", post(b"Content-Length: 30000000000000000000\r\n"), 400),
    ("a length of 2^64-1", post(b"Content-Length: 18446744073709551615\r\n"), 400),
    ("a length of 2^63", post(b"Content-Length: 9223372036854775808\r\n"), 400),
    ("length before chunked", post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"), 400),
    ("chunked before length", post(CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n"), 400),
    ("a blank before the length's colon", post(b"Content-Length : 5\r\n", b"hello"), 400),
    ("a tab before the length's colon", post(b"Content-Length\t: 5\r\n", b"hello"), 400),
    ("a blank before the coding's colon", post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"), 400),
    ("a NUL inside the name Content-Length", post(b"Content-Length\0xyz: 5\r\n", b"hello"), 400),
    ("xchunked", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 501),
    ("gzip", post(b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n"), 501),
    ("identity", post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"), 501),
    ("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), (400, 501)),
    ("chunked, identity", post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"), (400, 501)),
    ("chunked, chunked", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), 400),
    ("chunked on two lines", post(CHUNKED + CHUNKED, b"0\r\n\r\n"), 400),
    (
        "chunked and identity on two lines",
        post(CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        (400, 501),
    ),
    ("chunked with a parameter", post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n"), (400, 501)),
    ("chunked with a form feed", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    ("chunked in quotes", post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"), (400, 501)),
    ("an empty coding", post(b"Transfer-Encoding: \r\n"), (400, 501)),
    ("chunked in HTTP/1.0", b"POST " + SEARCH + b" HTTP/1.0\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 400),
    (
        "Connection names the length",
        post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello"),
        400,
    ),
    ("Connection names the coding", post(b"Connection: Transfer-Encoding\r\n" + CHUNKED, b"0\r\n\r\n"), 400),
    ("Connection names the key", get(H + b"api-key: k\r\nConnection: api-key\r\n"), 400),
    # lines
    ("a folded line", get(H + b"X-A: 1\r\n 2\r\n"), 400),
    ("a line folded by a tab", post(b"Content-Length: 1\r\n\t1\r\n", b"hello"), 400),
    ("a folded first line", get(b" Host: h\r\n"), 400),
    ("a line that ends in LF", b"GET /collections/x HTTP/1.1\r\nHost: h\nX-A: 1\r\n\r\n", 400),
    ("a request line that ends in LF", b"GET /collections/x HTTP/1.1\nHost: h\r\n\r\n", 400),
    ("a head that ends in LF", b"GET /collections/x HTTP/1.1\r\nHost: h\r\n\n", 400),
    ("a bare CR in a value", get(H + b"X-A: 1\r2\r\n"), 400),
    ("a bare CR and a field behind it", get(H + b"X-A: 1\rTransfer-Encoding: chunked\r\n"), 400),
    ("a bare LF in a value", get(H + b"X-A: 1\nX-B: 2\r\n"), 400),
    ("a CR CR LF", get(H + b"X-A: 1\r\r\n"), 400),
    ("a line without a colon", get(H + b"nonsense\r\n"), 400),
    ("an empty name", get(H + b": value\r\n"), 400),
    ("a blank in a name", get(H + b"X A: 1\r\n"), 400),
    ("a parenthesis in a name", get(H + b"X(A): 1\r\n"), 400),
    ("a control byte in a name", get(H + b"X\x01A: 1\r\n"), 400),
    ("an 8-bit name", get(H + b"X\xc3\xa4: 1\r\n"), 400),
    ("a control byte in a value", get(H + b"X-A: 1\x012\r\n"), 400),
    ("DEL in a value", get(H + b"X-A: 1\x7f2\r\n"), 400),
    ("NUL in a value", get(H + b"X-A: 1\x002\r\n"), 400),
    # Host
    ("no Host", b"GET /collections/x HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", get(H + H), 400),
    ("two different Hosts", get(H + b"Host: i\r\n"), 400),
    ("two Hosts in HTTP/1.0", get(H + H, b"GET /collections/x HTTP/1.0"), 400),
    ("a Host with a blank", get(b"Host: a b\r\n"), 400),
    ("a Host with a user", get(b"Host: u@h\r\n"), 400),
    ("a Host with a list", get(b"Host: a, b\r\n"), 400),
    ("a Host with a path", get(b"Host: a/b\r\n"), 400),
    # request line
    ("no version", b"GET /collections/x\r\nHost: h\r\n\r\n", 400),
    ("two blanks in the request line", get(H, b"GET  /collections/x HTTP/1.1"), 400),
    ("two blanks before the version", get(H, b"GET /collections/x  HTTP/1.1"), 400),
    ("a blank after the version", get(H, b"GET /collections/x HTTP/1.1 "), 400),
    ("a tab in the request line", get(H, b"GET\t/collections/x HTTP/1.1"), 400),
    ("a blank in the target", get(H, b"GET /a b HTTP/1.1"), 400),
    ("a blank before the method", get(H, b" GET /collections/x HTTP/1.1"), 400),
    ("a method that is no token", get(H, b"G@T /collections/x HTTP/1.1"), 400),
    ("an 8-bit method", get(H, b"G\xc4T /collections/x HTTP/1.1"), 400),
    ("CONNECT", get(H, b"CONNECT h:443 HTTP/1.1"), (400, 501, 405)),
    ("CONNECT with a path", get(H, b"CONNECT /x HTTP/1.1"), (400, 501, 405)),
    ("TRACE", get(H, b"TRACE /collections/x HTTP/1.1"), (400, 501, 405)),
    ("an absolute target", get(H, b"GET http://h/collections/x HTTP/1.1"), 400),
    ("an absolute target with a user", get(H, b"GET http://u:p@h/ HTTP/1.1"), 400),
    ("an authority as target", get(H, b"GET h:80 HTTP/1.1"), 400),
    ("an asterisk as target", get(H, b"OPTIONS * HTTP/1.1"), 400),
    ("a target without a slash", get(H, b"GET collections/x HTTP/1.1"), 400),
    ("a fragment", get(H, b"GET /collections/x#frag HTTP/1.1"), 400),
    ("a NUL in the target", get(H, b"GET /coll\0ections HTTP/1.1"), 400),
    ("a control byte in the target", get(H, b"GET /coll\x0bections HTTP/1.1"), 400),
    ("DEL in the target", get(H, b"GET /coll\x7f HTTP/1.1"), 400),
    ("an 8-bit target", get(H, b"GET /coll\xc3\xa4 HTTP/1.1"), 400),
    ("a target over 8 KB", get(H, b"GET /" + b"a" * 8200 + b" HTTP/1.1"), 414),
    ("a target of 40 KB", get(H, b"GET /" + b"a" * 40000 + b" HTTP/1.1"), (414, 431)),
    # version
    ("HTTP/1.2", get(H, b"GET /collections/x HTTP/1.2"), 505),
    ("HTTP/2.0", get(H, b"GET /collections/x HTTP/2.0"), 505),
    ("HTTP/0.9", get(H, b"GET /collections/x HTTP/0.9"), (400, 505)),
    ("HTTP/1.01", get(H, b"GET /collections/x HTTP/1.01"), (400, 505)),
    ("HTTP/1.257", get(H, b"GET /collections/x HTTP/1.257"), (400, 505)),
    ("http/1.1", get(H, b"GET /collections/x http/1.1"), 400),
    ("HTTP/1,1", get(H, b"GET /collections/x HTTP/1,1"), 400),
    ("HTTPS/1.1", get(H, b"GET /collections/x HTTPS/1.1"), 400),
    ("the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x01" * 64 + b"\r\n\r\n", 400),
    # size
    ("101 fields", get(H + b"".join(b"X-%d: 1\r\n" % n for n in range(100))), 431),
    ("a head over 32 KB", get(H + b"X-A: " + b"a" * 33000 + b"\r\n"), 431),
    (
        "a head over 32 KB in many lines",
        get(H + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 500) for n in range(80))),
        431,
    ),
    # credentials
    ("two keys", get(H + b"api-key: a\r\napi-key: b\r\n"), 400),
    ("two authorizations", get(H + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400),
    # expectations
    (
        "an expectation of something else",
        post(b"Expect: the-unexpected\r\nContent-Length: 5\r\n", b"hello"),
        417,
    ),
]

# Heads that are good, bodies that are not.
BODIES = [
    ("a chunk size of 65 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a sign", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative chunk size", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("a blank before a chunk size", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("an empty chunk size", b"\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size of 8-bit bytes", b"\xb5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size line that ends in LF", b"5\nhello\r\n0\r\n\r\n"),
    ("a bare CR in a chunk extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF in a chunk extension", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("a NUL in a chunk extension", b"5;a\0b\r\nhello\r\n0\r\n\r\n"),
    ("a chunk extension of 300 bytes", b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    ("no CRLF behind the data", b"5\r\nhelloXX0\r\n\r\n"),
    ("only LF behind the data", b"5\r\nhello\n0\r\n\r\n"),
    ("more data than the size", b"5\r\nhello world\r\n0\r\n\r\n"),
    ("a malformed trailer", b"5\r\nhello\r\n0\r\nno colon here\r\n\r\n"),
    ("a trailer with a blank before its colon", b"5\r\nhello\r\n0\r\nX : 1\r\n\r\n"),
    ("a folded trailer", b"5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n"),
    (
        "trailers of 9 KB",
        b"5\r\nhello\r\n0\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 100) for n in range(90)) + b"\r\n",
    ),
]


def refused(
    quiver: Quiver, fake: FakeQdrant, sent: bytes, statuses: int | tuple[int, ...], pieces: int = 1
) -> None:
    if isinstance(statuses, int):
        statuses = (statuses,)
    with quiver.conn() as c:
        step = max(1, -(-len(sent) // pieces))
        for n in range(0, len(sent), step):
            c.send_quietly(sent[n : n + step])
        c.send_quietly(SENTINEL)
        r = c.read()
        assert r.status in statuses, r
        assert r.get("content-type") == "application/json" and "error" in r.json()["status"]
        assert (r.get("connection") or "").lower() == "close"
        assert c.is_closed(), "the connection stays open"


@pytest.fixture(scope="module")
def shared_fake():
    with FakeQdrant() as f:
        yield f


@pytest.fixture(scope="module")
def shared(shared_fake: FakeQdrant):
    q = Quiver(shared_fake.url)
    yield q
    q.stop()


@pytest.mark.parametrize("name, sent, statuses", HEADS, ids=[row[0] for row in HEADS])
def test_a_bad_head_is_refused(
    shared: Quiver, shared_fake: FakeQdrant, name: str, sent: bytes, statuses
) -> None:
    before = len(shared_fake.requests)
    refused(shared, shared_fake, sent, statuses)
    refused(shared, shared_fake, sent, statuses, pieces=7)
    assert shared.ask("GET", "/nope").status == 404
    assert [r.target for r in shared_fake.requests[before:]] == ["/nope"]
    assert shared_fake.refused_bytes == []


@pytest.mark.parametrize("name, body", BODIES, ids=[row[0] for row in BODIES])
def test_a_bad_body_is_refused_and_not_forwarded_as_whole(
    shared: Quiver, shared_fake: FakeQdrant, name: str, body: bytes
) -> None:
    for method, path in (
        ("POST", "/collections/x/points/search"),
        ("PUT", "/collections/x/points?wait=true"),
    ):
        before = len(shared_fake.requests)
        refused(shared, shared_fake, head_of(method, path, {"Transfer-Encoding": "chunked"}) + body, 400)
        refused(
            shared, shared_fake, head_of(method, path, {"Transfer-Encoding": "chunked"}) + body, 400, pieces=9
        )
        got = shared_fake.requests[before:]
        assert not [r for r in got if r.complete], "a broken request arrived as a whole one"
        held = [r for r in got if r.method == "POST"]
        assert not held, "a held request's head went out before its body was known"
        assert all(b"sentinel" not in r.raw for r in got)


def test_limits_are_exact(shared: Quiver, shared_fake: FakeQdrant) -> None:
    def status(raw: bytes) -> int:
        with shared.conn() as c:
            return c.send_quietly(raw).read().status

    assert status(get(H, b"GET /" + b"a" * 8191 + b" HTTP/1.1")) == 404
    assert status(get(H, b"GET /" + b"a" * 8192 + b" HTTP/1.1")) == 414
    ninety_nine = b"".join(b"X-%d: 1\r\n" % n for n in range(99))
    assert status(get(H + ninety_nine)) == 200
    assert status(get(H + ninety_nine + b"X-Y: 1\r\n")) == 431
    room = 32768 - len(get(H + b"X-A: \r\n"))
    assert status(get(H + b"X-A: " + b"a" * room + b"\r\n")) == 200
    assert status(get(H + b"X-A: " + b"a" * (room + 1) + b"\r\n")) == 431


def test_oddities_that_are_legal_pass(shared: Quiver, shared_fake: FakeQdrant) -> None:
    legal = [
        post(b"transfer-ENCODING: CHUNKED\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        post(b"Transfer-Encoding:\tchunked \r\n", b'5;a=b;c="d"\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n'),
        post(b"Content-Length:5\r\n", b"hello"),
        post(b"Content-Length: 005\r\n", b"hello"),
        post(CHUNKED, b"00000005\r\nhello\r\n000\r\n\r\n"),
        post(b"Content-Length: 0\r\n"),
        get(b"Host: [::1]:6333\r\n"),
        get(H + b"X-A:\r\nX-B: a:b:c\r\n"),
    ]
    with shared.conn() as c:
        for raw in legal:
            assert c.send(raw).read().status == 200, raw


def test_many_small_chunks_arrive_whole(shared: Quiver, shared_fake: FakeQdrant) -> None:
    with shared.conn() as c:
        c.send(post(CHUNKED, b"1\r\nx\r\n" * 20000 + b"0\r\n\r\n"))
        assert c.read().status == 200
    assert shared_fake.last.body == b"x" * 20000


def test_a_request_before_a_bad_one_is_still_answered(shared: Quiver, shared_fake: FakeQdrant) -> None:
    with shared.conn() as c:
        c.send(head_of("GET", "/collections/x") + get(H + H) + SENTINEL)
        assert c.read().status == 200
        assert c.read().status == 400
        assert c.is_closed()
    assert all("sentinel" not in r.target for r in shared_fake.requests)


def test_a_bad_request_behind_a_slow_one_waits_its_turn(quiver: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.reply(200, b"slow")
    with quiver.conn() as c:
        c.send(head_of("GET", "/telemetry") + b"BAD\r\n\r\n")
        wait_until(lambda: fake.requests, what="the first request upstream")
        go.set()
        assert c.read().body == b"slow"
        assert c.read().status == 400
        assert c.is_closed()


# --- requests that end early ---


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/collections/x/points/search"),
        ("PUT", "/collections/x/points?wait=true"),
        ("POST", "/collections/x/snapshots/upload"),
    ],
)
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_cut_request_never_arrives_as_a_whole_one(
    quiver: Quiver, fake: FakeQdrant, method: str, path: str, framing: str, how: str
) -> None:
    with quiver.conn() as c:
        if framing == "length":
            c.send(head_of(method, path, {"Content-Length": "300000"}) + b"x" * 200000)
        else:
            c.send(
                head_of(method, path, {"Transfer-Encoding": "chunked"})
                + b"%x\r\n" % 200000
                + b"x" * 200000
                + b"\r\n10\r\nabc"
            )
        if method == "PUT" or "upload" in path:
            wait_until(lambda: fake.requests, what="the head of the streamed request upstream")
        if how == "reset":
            c.reset()
        else:
            c.shutdown()
            c.read_all()
    wait_until(lambda: fake.open_now == 0, what="the upstream connection is given up")
    assert not [r for r in fake.requests if r.complete]
    assert quiver.ask("GET", "/collections/x").status == 200


# --- the answers' side ---

BAD_ANSWERS = [
    ("not HTTP", b"hello, client\r\n\r\n"),
    ("HTTP/2", b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    ("no status", b"HTTP/1.1 OK\r\n\r\n"),
    ("a status of 99", b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n"),
    ("a status of 600", b"HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n"),
    ("a status of four digits", b"HTTP/1.1 2000 X\r\ncontent-length: 0\r\n\r\n"),
    ("101", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    ("two lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok"),
    ("a list of lengths", b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok"),
    ("a signed length", b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok"),
    ("a huge length", b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok"),
    (
        "length and coding",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    ("another coding", b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("a coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("a folded line", b"HTTP/1.1 200 OK\r\nx-a: 1\r\n 2\r\ncontent-length: 2\r\n\r\nok"),
    ("a bare LF", b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"),
    ("a bare CR", b"HTTP/1.1 200 OK\r\nx-a: 1\r2\r\ncontent-length: 2\r\n\r\nok"),
    ("a NUL in a value", b"HTTP/1.1 200 OK\r\nx-a: 1\x002\r\ncontent-length: 2\r\n\r\nok"),
    ("a blank before a colon", b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok"),
    ("a line without a colon", b"HTTP/1.1 200 OK\r\nnonsense\r\ncontent-length: 2\r\n\r\nok"),
    ("a head of 40 KB", b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 40000 + b"\r\ncontent-length: 2\r\n\r\nok"),
    ("half a head", b"HTTP/1.1 200 OK\r\ncontent-le"),
    ("nothing", b""),
    ("only an interim answer", b"HTTP/1.1 100 Continue\r\n\r\n"),
]


@pytest.mark.parametrize("name, raw", BAD_ANSWERS, ids=[row[0] for row in BAD_ANSWERS])
def test_a_bad_answer_becomes_502(shared_fake: FakeQdrant, shared: Quiver, name: str, raw: bytes) -> None:
    def bad(x) -> None:
        if x.request.target.startswith("/bad"):
            x.send(raw)
            x.close()

    shared_fake.handler = bad
    with shared.conn() as c:
        r = c.ask("GET", "/bad")
        assert r.status == 502 and "error" in r.json()["status"], r
        spoiled = shared_fake.seen(path="/bad")[-1].connection
        if c.is_closed(0.05):
            c = shared.conn()
        assert c.ask("GET", "/collections/x").status == 200
    assert shared_fake.last.connection != spoiled
    shared_fake.handler = None


CUT_ANSWERS = [
    ("less than its length", b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 50000),
    ("a chunk cut short", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000\r\n" + b"x" * 50000),
    ("no last chunk", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"),
    (
        "a bad chunk size behind a good one",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n\r\n0\r\n\r\n",
    ),
    (
        "an overflowing chunk size",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
]


@pytest.mark.parametrize("target", ["/metrics", "/collections/x/points/search"])
@pytest.mark.parametrize("name, raw", CUT_ANSWERS, ids=[row[0] for row in CUT_ANSWERS])
def test_a_cut_answer_is_502_or_visibly_cut(
    start, fake: FakeQdrant, name: str, raw: bytes, target: str
) -> None:
    q = start(fake.url)

    def answer(x) -> None:
        x.send(raw)
        x.close()

    fake.handler = answer
    with q.conn() as c:
        c.send(
            head_of(
                "POST" if "search" in target else "GET",
                target,
                {"Content-Length": "2"} if "search" in target else {},
            )
            + (b"{}" if "search" in target else b"")
        )
        try:
            r = c.read()
            assert r.status == 502 and "error" in r.json()["status"], "a cut answer came out as a whole one"
        except ConnClosed:
            pass
    fake.handler = None
    r = q.post("/collections/x/points/search", b"{}")
    assert r.status == 200 and not r.hit, "half an answer was cached"


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"5\nhello\r\n0\r\n\r\n", b"10000000000000005\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_an_answer_found_bad_before_a_byte_left_becomes_502(
    start, fake: FakeQdrant, body: bytes, version: str
) -> None:
    q = start(fake.url)
    fake.handler = lambda x: x.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body)
    for _ in range(3):
        with q.conn() as c:
            c.send(b"GET /metrics " + version.encode() + b"\r\nHost: h\r\n\r\n")
            r = c.read()
            assert r.status == 502 and "malformed" in r.json()["status"]["error"], r
    wait_until(lambda: q.metric("model_requests_total", status="502") == 3, 5, "they are counted as what they were")


def test_bytes_behind_an_answer_never_reach_anyone(quiver: Quiver, fake: FakeQdrant) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nSTOLEN"

    def answer(x) -> None:
        if x.request.target == "/first":
            x.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst" + smuggled)

    fake.handler = answer
    for _ in range(20):
        with quiver.conn() as a, quiver.conn() as b:
            assert a.ask("GET", "/first").body == b"first"
            spoiled = fake.last.connection
            assert b.ask("GET", "/collections/x").json()["status"] == "ok"
            assert a.ask("GET", "/collections/x").json()["status"] == "ok"
            assert all(r.connection != spoiled for r in fake.requests[-2:])


def test_an_answer_to_nobody_closes_the_idle_connection(quiver: Quiver, fake: FakeQdrant) -> None:
    later = threading.Event()
    sent = threading.Event()

    def answer(x) -> None:
        if x.request.target == "/first":
            x.reply(200, b"first")
            x.wait(later)
            x.send(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            sent.set()

    fake.handler = answer
    with quiver.conn() as c:
        assert c.ask("GET", "/first").body == b"first"
        later.set()
        assert sent.wait(5)
        wait_until(lambda: fake.open_now == 0, 5, "the connection with stray bytes is dropped")
        assert c.ask("GET", "/collections/x").status == 200


def test_upstreams_connection_close_is_obeyed(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, b"ok", headers=[("connection", "close")])
    with quiver.conn() as c:
        for _ in range(3):
            r = c.ask("GET", "/metrics")
            assert r.body == b"ok"
    assert len({r.connection for r in fake.requests}) == 3


def test_a_refused_head_costs_no_upstream_connection(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    before = fake.accepted
    with Conn(q.port) as c:
        c.send(b"GARBAGE\r\n\r\n")
        assert c.read().status == 400
    assert fake.requests == [] and fake.accepted <= before + 1  # quiver's own alias poll may fall in between
    wait_until(lambda: q.metric("quiver_refused_requests_total", status="400") == 1, 5, "it is counted")
