"""A search, asked until its answer comes from the cache."""

from .quiver import Quiver, wait_until

SEARCH = "/collections/mine/points/search"
BODY = {"vector": [0.1, 0.2, 0.3], "limit": 3}


def served(q: Quiver, target: str = SEARCH, body: object = BODY, headers: dict[str, str] | None = None):
    r = q.post(target, body, headers)
    assert r.status == 200, r
    return r


def cached(q: Quiver, target: str = SEARCH, body: object = BODY) -> None:
    """Asks until the answer comes from the cache: what the tests that invalidate begin with."""
    wait_until(lambda: served(q, target, body).hit, 5, f"{target} is answered from the cache")
