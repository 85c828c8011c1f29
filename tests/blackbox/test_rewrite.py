"""What the upstream gets, byte for byte: the live proxy against the reference edit."""

import gzip
import random
import sys
import threading

import pytest
from lib import ROOT, FakeQdrant, Quiver, head_of, wait_until

sys.path.insert(0, str(ROOT / "tests" / "reference"))
reference = pytest.importorskip("rewrite", reason="no reference edit in tests/reference")

RULES: dict[str, dict] = {
    "defaults": {
        "hnsw_ef": {"default": 64},
        "quantization.rescore": {"default": True},
        "quantization.oversampling": {"default": 1.5},
    },
    "forced": {
        "hnsw_ef": {"force": 32},
        "exact": {"force": False},
        "quantization.ignore": {"force": True},
        "indexed_only": {"force": True},
    },
    "bounded": {"hnsw_ef": {"min": 16, "max": 128}, "quantization.oversampling": {"min": 1.25, "max": 3.5}},
    "mixed": {
        "hnsw_ef": {"default": 48, "max": 256},
        "exact": {"default": True},
        "quantization.rescore": {"force": False},
        "quantization.oversampling": {"default": 2, "min": 1},
    },
    "nothing": {},
}


def search_of(rules: dict) -> dict:
    """The model's search: map as it stands in model-optimizations.yaml."""
    out: dict = {}
    for knob, rule in rules.items():
        for which, value in rule.items():
            at = out.setdefault(which, {})
            *groups, last = knob.split(".")
            for group in groups:
                at = at.setdefault(group, {})
            at[last] = value
    return out


def models() -> dict:
    return {
        name: {"search": search_of(rules)} if rules else {"collections": [name]}
        for name, rules in RULES.items()
    }


def test_two_thousand_bodies_arrive_as_the_reference_says(fake: FakeQdrant, start, long: bool) -> None:
    q = start(fake.url, optimizations=models(), flags=["--cache", "off"])
    rng = random.Random(20240601)
    cases = []
    for _ in range(2000 if not long else 10000):
        op, method, path, body = reference.generate(rng)
        name = rng.choice(sorted(RULES))
        target = f"/collections/{name}/points/{reference.OPS[op][0]}"
        cases.append((op, method, target, name, body))
    wrong: list[str] = []

    def client(mine: list) -> None:
        with q.conn(timeout=60) as c:
            for n, (op, method, target, name, body) in mine:
                assert (
                    c.ask(method, f"{target}?n={n}", body, {"Content-Type": "application/json"}).status == 200
                )

    numbered = list(enumerate(cases))
    threads = [threading.Thread(target=client, args=(numbered[k::4],)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    got = {int(r.query.removeprefix("n=")): r.body for r in fake.requests}
    assert len(got) == len(cases)
    changed = 0
    for n, (op, method, target, name, body) in numbered:
        want = reference.apply(op, body, RULES[name])
        changed += want != body
        if got[n] != want:
            wrong.append(f"{op} by {name}\nsent {body!r}\nwant {want!r}\ngot  {got[n]!r}")
    assert not wrong, f"{len(wrong)} differ, the first:\n" + wrong[0]
    assert changed > len(cases) // 4
    rewritten = lambda: sum(q.metric("optimization_rewrites_total", model=m) for m in RULES)  # noqa: E731
    wait_until(lambda: rewritten() == changed, 5, "they are counted")


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("spelling", ["absent", "null", "present", "escaped", "duplicate"])
def test_every_operation_spelling_and_depth(fake: FakeQdrant, start, spelling: str, depth: int) -> None:
    q = start(fake.url, optimizations=models(), flags=["--cache", "off"], workers=1)
    rng = random.Random(depth * 10 + len(spelling))
    with q.conn() as c:
        for op in reference.OPS:
            op, method, _, body = reference.generate(rng, op, spelling, depth, damaged=0)
            for name, rules in RULES.items():
                assert c.ask(method, f"/collections/{name}/points/{reference.OPS[op][0]}", body).status == 200
                assert fake.last.body == reference.apply(op, body, rules), (op, name, body)


@pytest.fixture
def q(fake: FakeQdrant, start) -> Quiver:
    return start(fake.url, optimizations=models(), flags=["--cache", "off"])


PATH = "/collections/forced/points/search"
BODY = b'{"vector":[0.1,1e-3,3],"limit":3}'
FORCED = reference.apply("search", BODY, RULES["forced"])


def test_the_rules_show(q: Quiver, fake: FakeQdrant) -> None:
    assert q.post(PATH, BODY).status == 200
    assert fake.last.body == FORCED != BODY
    assert fake.last.all("content-length") == [str(len(FORCED))]


def test_a_chunked_search_is_rewritten_too(q: Quiver, fake: FakeQdrant) -> None:
    with q.conn() as c:
        c.send(head_of("POST", PATH, {"Transfer-Encoding": "chunked"}))
        for n in range(0, len(BODY), 5):
            c.send(b"%x\r\n%s\r\n" % (len(BODY[n : n + 5]), BODY[n : n + 5]))
        c.send(b"0\r\n\r\n")
        assert c.read().status == 200
    assert fake.last.body == FORCED


def test_the_header_counts_only_where_it_is_allowed(fake: FakeQdrant, start) -> None:
    for allowed, want in ((True, BODY), (False, FORCED)):
        q = start(
            fake.url,
            optimizations=models(),
            quiver={"rewrite": {"allow_header": allowed}},
            flags=["--cache", "off"],
        )
        assert q.post(PATH, BODY, {"X-Quiver-Rewrite": "off"}).status == 200
        assert fake.last.body == want
        assert q.post(PATH, BODY).status == 200
        assert fake.last.body == FORCED


def test_an_answer_without_rewriting_is_another_answer(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=models(), quiver={"rewrite": {"allow_header": True}})
    plain = q.post(PATH, BODY, {"X-Quiver-Rewrite": "off"})
    assert not q.post(PATH, BODY).hit
    assert q.post(PATH, BODY, {"X-Quiver-Rewrite": "off"}).json()["result"] == plain.json()["result"]


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-own"])
def test_compressed_bodies_are_untouched_and_uncached(fake: FakeQdrant, start, coding: str) -> None:
    q = start(fake.url, optimizations=models())
    body = gzip.compress(BODY) if coding == "gzip" else BODY
    for _ in range(2):
        r = q.post(PATH, body, {"Content-Encoding": coding})
        assert r.status == 200 and not r.hit
    assert [r.body for r in fake.requests] == [body, body]
    assert fake.last.get("content-encoding") == coding


def test_rewrite_off_changes_nothing(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=models(), flags=["--rewrite", "off", "--cache", "off"])
    assert q.post(PATH, BODY).status == 200
    assert fake.last.body == BODY


@pytest.mark.parametrize(
    "method, path",
    [
        ("PUT", "points"),
        ("POST", "points/scroll"),
        ("POST", "points/count"),
        ("POST", "points/search/matrix/pairs"),
        ("POST", "facet"),
        ("POST", "points"),
        ("POST", "points/batch"),
        ("POST", "unknown"),
    ],
)
def test_operations_without_params_are_untouched(q: Quiver, fake: FakeQdrant, method: str, path: str) -> None:
    body = b'{"params":{"hnsw_ef":1},"vector":[1],"limit":1}'
    q.ask(method, f"/collections/forced/{path}", body)
    assert fake.last.body == body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"params":1}',
        b'{"params":{"hnsw_ef":10.0}}',
        b'{"params":{"hnsw_ef":"64"}}',
        b'{"params":{"exact":1}}',
        b'{"params":{"quantization":[]}}',
        b'{"limit":1}{}',
        b'\xef\xbb\xbf{"limit":1}',
        b'{"p\\u0061rams":{}}',
        b'{"params":{},"params":{}}',
        b'{"params":{"hnsw_ef":-1}}',
    ],
)
def test_what_is_not_understood_is_left_to_qdrant(q: Quiver, fake: FakeQdrant, body: bytes) -> None:
    q.post(PATH, body)
    assert fake.last.body == body


def test_a_large_vector_keeps_its_bytes(q: Quiver, fake: FakeQdrant) -> None:
    vector = b",".join(b"%.17g" % (n / 7) for n in range(4096))
    body = b'{"vector":[' + vector + b'],"limit":3,"with_payload":true}'
    assert q.post(PATH, body).status == 200
    assert fake.last.body == reference.apply("search", body, RULES["forced"]) and vector in fake.last.body


def test_nine_shipped_models_are_rewritten_as_configured(fake: FakeQdrant, tmp_path) -> None:
    """The conf/ that ships, with an upstream added by flag: every model's collection gets parameters."""
    conf = ROOT / "conf"
    q = Quiver(None, start=False)
    shipped = [*_without_c(q.command()), "-c", str(conf), "--upstream", fake.url]
    q.command = lambda: shipped  # type: ignore[method-assign]
    try:
        q.start()
        for model in (
            "mixtral",
            "hermes",
            "openchat",
            "yi34b",
            "deepseek",
            "phi3",
            "imp",
            "deepcoder",
            "general",
        ):
            assert q.post(f"/collections/{model}/points/search", BODY).status == 200
            assert b'"hnsw_ef"' in fake.last.body, model
            assert fake.last.body.replace(b" ", b"").count(b'"params"') == 1
            r = q.post(f"/collections/{model}/points/search", BODY)
            assert r.hit, model
            assert q.metric("optimization_rewrites_total", model=model) >= 1
        assert q.post("/collections/nobodys/points/search", BODY).status == 200
        assert fake.last.body == BODY
    finally:
        q.stop()


def _without_c(command: list[str]) -> list[str]:
    at = command.index("-c")
    return command[:at] + command[at + 2 :]


def test_a_body_that_would_become_too_long_for_qdrant_goes_as_it_came(fake: FakeQdrant, start) -> None:
    rules = {"m": {"search": {"default": {"hnsw_ef": 64}}}}
    q = start(fake.url, optimizations=rules, quiver={"limits": {"hold_body": "64KiB"}}, flags=["--cache", "off"])
    grows = len(b'"params":{"hnsw_ef":64},')
    for n, changed in ((65536 - grows, True), (65536 - grows + 1, False), (65536, False)):
        body = b'{"vector":[' + b"1," * 30000 + b"1]"
        body += b" " * (n - len(body) - 1) + b"}"
        assert q.post("/collections/m/points/search", body).status == 200
        assert (b"hnsw_ef" in fake.last.body) == changed and len(fake.last.body) == n + grows * changed
        assert changed or fake.last.body == body
    assert q.metric("optimization_rewrites_skipped_total", model="m") == 2
    assert q.metric("optimization_rewrites_total", model="m") == 1


def test_what_a_batch_grows_to_counts_as_held_memory(fake: FakeQdrant, start) -> None:
    """Sixty thousand searches of two bytes each become fifty times as long."""
    rules = {"m": {"search": {"default": {"hnsw_ef": 64, "quantization": {"rescore": True, "oversampling": 1.5}}}}}
    limits = {"limits": {"hold_body": "4MiB", "hold_total": "4MiB"}}
    q = start(fake.url, optimizations=rules, quiver=limits, workers=1, flags=["--cache", "off"])
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.ok([])

    def batch(n: int) -> bytes:
        return b'{"searches":[' + b",".join([b"{}"] * n) + b"]}"

    with q.conn() as one, q.conn() as other:
        body = batch(15000)
        one.send(head_of("POST", "/collections/m/points/search/batch", {"Content-Length": str(len(body))}) + body)
        wait_until(lambda: fake.requests and fake.last.complete, 10, "the first batch upstream")
        assert fake.last.body.count(b"oversampling") == 15000
        assert q.metric("quiver_held_bytes") > len(fake.last.body)
        r = other.post("/collections/m/points/search/batch", batch(15001))
        assert r.status == 503 and r.get("retry-after"), r
        assert "hold_total" in r.json()["status"]["error"]
        go.set()
        assert one.read().status == 200
        wait_until(lambda: q.metric("quiver_held_bytes") == 0, 5, "its memory is given back")
        assert other.post("/collections/m/points/search/batch", batch(15001)).status == 200
    wait_until(lambda: q.metric("quiver_held_bytes") == 0, 5, "and again")
