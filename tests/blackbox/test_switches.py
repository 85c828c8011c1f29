"""What operators turn on and off for one model while quiver runs."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

from lib import FakeQdrant, Quiver, quiver_binary, request, wait_until

SEARCH = "/collections/mixtral/points/search"
BODY = {"vector": [0.1, 0.2], "limit": 3}
MODELS = {"mixtral": {"search": {"default": {"hnsw_ef": 64}}}, "hermes": {"cache_ttl": 60}}


def switch(q: Quiver, model: str = "mixtral", **what: object):
    return q.control("POST", f"/api/v1/models/{model}/optimizations", json.dumps(what).encode())


def word(q: Quiver) -> str:
    return q.post(SEARCH, BODY).get("cache-status") or ""


def hits(q: Quiver) -> bool:
    return wait_until(lambda: q.post(SEARCH, BODY).hit, 5, "a hit")


def test_the_cache_of_a_model_is_switched_off_and_on(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    hits(q)
    assert switch(q, cache=False).status == 200
    wait_until(lambda: word(q) == "", 5, "mixtral is not cached any more")
    wait_until(lambda: q.post("/collections/hermes/points/search", BODY).hit, 5, "hermes still is")
    assert switch(q, cache=True).status == 200
    hits(q)


def test_rewriting_of_a_model_is_switched_off(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS, flags=["--cache", "off"])
    q.post(SEARCH, BODY)
    assert fake.last.json()["params"] == {"hnsw_ef": 64}
    assert switch(q, rewrite=False).status == 200
    wait_until(lambda: q.post(SEARCH, BODY) and "params" not in fake.last.json(), 5, "searches go on as they came")


def test_a_switch_survives_a_reload_and_ends_with_the_process(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    assert switch(q, cache=False).status == 200
    q.reload(optimizations=MODELS)
    assert word(q) == ""
    q.stop()
    again = start(fake.url, optimizations=MODELS)
    hits(again)


def test_what_is_switched_is_in_the_effective_configuration_and_the_status(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS, tuning={"mixtral": {"enforce": "observe"}})
    normal = {"cache": True, "coalesce": True, "rewrite": True, "enforce": "observe", "memory_policy": "warn"}
    path = "/api/v1/models/mixtral/optimizations"
    assert q.control("GET", path).json() == {"model": "mixtral", "switches": normal}
    wish = {"cache": False, "coalesce": False, "rewrite": False, "enforce": "off", "memory_policy": "refuse"}
    assert switch(q, **wish).json() == {"model": "mixtral", "set": wish, "switches": wish}

    def shown() -> None:
        assert q.control("GET", path).json()["switches"] == wish
        models = q.control("GET", "/api/v1/optimizations/status").json()["models"]
        by_name = {m["model"]: m for m in models}
        assert by_name["mixtral"]["switches"] == wish and by_name["mixtral"]["mode"] == "off"
        assert by_name["hermes"]["switches"] == normal

    shown()
    text = q.control("GET", "/api/v1/config").body.decode()
    assert "memory_policy: " in text and "coalesce: false" in text
    q.reload(optimizations=MODELS)
    shown()
    written = q.folder / "as-it-is.yaml"  # it may be written to a file and used
    written.write_text(text)
    check = subprocess.run([quiver_binary(), "-c", written, "-t"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr


def test_switches_win_over_the_environment(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS, env={"MODEL_CACHE_MIXTRAL": "false"})
    assert word(q) == ""
    assert switch(q, cache=True).status == 200
    hits(q)


def test_one_after_the_other_adds_up(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    assert switch(q, cache=False).json()["switches"]["rewrite"] is True
    assert switch(q, rewrite=False).json()["switches"]["cache"] is False
    last = switch(q, cache=True, rewrite=None).json()
    assert last["switches"]["rewrite"] is False
    assert last["set"] == {"cache": True}, "null is as good as absent"


def test_a_mutation_of_graphql_switches_too(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)

    def mutate(arguments: str) -> dict:
        query = f"mutation{{setSwitches({arguments}){{model cache enforce memoryPolicy}}}}"
        head = {"Host": "localhost", "Content-Type": "application/json"}
        return request(q.api, "POST", "/graphql", json.dumps({"query": query}).encode(), head).json()

    assert mutate('model:"mixtral",cache:false,memoryPolicy:"off"')["data"]["setSwitches"] == {
        "model": "mixtral",
        "cache": False,
        "enforce": "observe",
        "memoryPolicy": "off",
    }
    assert word(q) == ""
    assert "refuse" in mutate('model:"mixtral",memoryPolicy:"no"')["errors"][0]["message"]
    assert "mixtral" in mutate('model:"mistral",cache:true')["errors"][0]["message"]


def loaded(q: Quiver) -> dict[str, float]:
    return {labels["result"]: n for name, labels, n in q.metrics() if name == "quiver_reloads_total"}


def test_switches_go_with_their_model_and_reloads_go_on(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={**MODELS, "foo": {}})
    assert switch(q, "foo", memory_policy="refuse").status == 200
    assert switch(q, cache=False).status == 200
    before = loaded(q)
    q.reload(optimizations=MODELS)
    assert loaded(q)["failed"] == before["failed"]
    wait_until(lambda: q.log_has("switch_dropped", "model=foo", "memory_policy"), 5, "it is said")
    assert word(q) == "", "mixtral's own switch stays"
    q.reload(optimizations={**MODELS, "foo": {}})
    again = q.control("GET", "/api/v1/models/foo/optimizations").json()["switches"]
    assert again["memory_policy"] == "warn", "a new model is as its files say"


def test_a_switch_is_of_its_model_however_names_of_models_end(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={"yi": {}, "big_yi": {}})
    assert switch(q, "big_yi", cache=False).status == 200
    assert q.control("GET", "/api/v1/models/yi/optimizations").json()["switches"]["cache"] is True
    before = loaded(q)
    q.reload(optimizations={"yi": {}})
    assert loaded(q)["failed"] == before["failed"]
    assert q.control("GET", "/api/v1/models/yi/optimizations").json()["switches"]["cache"] is True


def test_models_whose_variables_would_be_the_same_are_switched_apart(fake: FakeQdrant, start) -> None:
    names = ("a-b", "a.b", "A_B")
    q = start(fake.url, optimizations={name: {} for name in names})
    assert switch(q, "a.b", coalesce=False).status == 200
    state = {n: q.control("GET", f"/api/v1/models/{n}/optimizations").json()["switches"]["coalesce"] for n in names}
    assert state == {"a-b": True, "a.b": False, "A_B": True}


def test_opposite_switches_at_once_are_each_told_what_holds(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: switch(q, cache=i % 2 == 0), range(40)))
    now = q.control("GET", "/api/v1/models/mixtral/optimizations").json()["switches"]["cache"]
    assert {r.status for r in answers} <= {200, 409}
    for r in answers:
        if r.status == 409:
            assert "by another call at the same time" in r.json()["status"]["error"]
    assert any(r.status == 200 and r.json()["set"]["cache"] is now for r in answers), "the last one holds"


def test_a_configuration_that_does_not_load_is_said(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    good = (q.folder / "quiver.yaml").read_text()
    q.write("quiver.yaml", "nonsense: 1\n")
    r = switch(q, cache=False)
    error = r.json()["status"]["error"]
    assert r.status == 503 and "not in effect after 3 s" in error
    assert "does not load" in error and "the switch is kept" in error
    hits(q)
    q.write("quiver.yaml", good)
    q.reload(optimizations=MODELS)
    wait_until(lambda: word(q) == "", 5, "it takes effect with the reload")


def test_bad_switches_are_told_what_would_be_right(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    for what, expected in (
        ({}, "expected an object"),
        ({"cache": "no"}, "expected true or false"),
        ({"cachet": True}, "expected cache, coalesce"),
        ({"memory_policy": "no"}, '"refuse"'),
        ({"cache": None}, "expected an object"),
        ({"enforce": True}, "observe"),
    ):
        r = switch(q, **what)
        assert r.status == 400 and expected in r.json()["status"]["error"], (what, r)
    assert switch(q, "mistral", cache=False).status == 404
