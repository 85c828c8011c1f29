"""Strict mode: what a collection refuses (400), and its rate limits (429)."""
import math
import time

import convert
from errors import ApiError, bad_request


class Limiter:
    """A token bucket that holds a minute's worth; `rate` in operations per minute."""

    def __init__(self, rate: int, what: str):
        self.rate, self.what, self.tokens, self.at = rate, what, float(rate), time.monotonic()

    @staticmethod
    def of(rate, what: str):
        return Limiter(rate, what) if rate else None

    def take(self, cost: int) -> None:
        now = time.monotonic()
        self.tokens = min(float(self.rate), self.tokens + (now - self.at) * self.rate / 60)
        self.at = now
        if cost > self.rate:
            raise ApiError(
                429,
                f"Rate limiting exceeded: {self.what} rate limit exceeded, request larger than "
                f"rate limiter capacity, please try to split your request",
            )
        if self.tokens < cost:
            wait = math.ceil((cost - self.tokens) * 60 / self.rate)
            shown = math.floor(self.tokens * 10) / 10
            raise ApiError(
                429,
                f"Rate limiting exceeded: {self.what} rate limit exceeded: Operation requires {cost} "
                f"tokens but only {shown} were available. Retry after {wait}s",
                headers=((b"retry-after", b"%d" % wait),),
            )
        self.tokens -= cost


def over(value, most, name: str) -> ApiError:
    return bad_request(f'Limit exceeded {value} > {most} for "{name}". '
                       f'Help: Reduce the "{name}" parameter to or below {most}.')


def at_most(collection, key: str, value, name: str) -> None:
    most = collection.strict.get(key)
    if most is not None and value is not None and value > most:
        raise over(value, most, name)


def check_params(collection, params: dict) -> None:
    at_most(collection, "search_max_hnsw_ef", params.get("hnsw_ef"), "hnsw_ef")
    if params.get("exact") and collection.strict.get("search_allow_exact") is False:
        raise bad_request("Exact search disabled!. Help: Set exact=false.")
    quantization = params.get("quantization") or {}
    at_most(collection, "search_max_oversampling", quantization.get("oversampling"), "oversampling")


def check_read(collection, docs: list, timeout, batched: bool = False) -> None:
    """All of strict mode that looks at a read's items, prefetch trees included; takes its tokens last."""
    if not collection.strict:
        return
    at_most(collection, "max_timeout", timeout, "timeout")
    if batched:
        at_most(collection, "search_max_batchsize", len(docs), "search batch size")
    cost = 0
    for doc in docs:
        at_most(collection, "max_query_limit", doc.get("limit", doc.get("top")), "limit")
        cost += check_node(collection, doc)
    if collection.reads:
        collection.reads.take(max(1, cost))


def check_node(collection, doc: dict) -> int:
    """Checks one query and its prefetches; returns its cost in tokens."""
    check_params(collection, doc.get("params") or {})
    cost = 1 + check_filter(collection, doc.get("filter"), "unindexed_filtering_retrieve")
    prefetch = doc.get("prefetch") or ()
    return cost + sum(
        check_node(collection, child) for child in ([prefetch] if type(prefetch) is dict else prefetch)
    )


def check_filter(collection, doc, unindexed_key: str) -> int:
    """Returns the number of conditions."""
    if not doc:
        return 0
    convert.filter_in(doc)      # what is no filter at all is refused as such, before it is counted
    fields = []
    count = conditions(doc, fields)
    at_most(collection, "filter_max_conditions", count, "filter_max_conditions")
    if collection.strict.get(unindexed_key) is False:
        for key in fields:
            if key not in collection.schema:
                raise bad_request(f'Index required but not found for "{key}". '
                                  f"Help: Create an index for this key or use a different filter.")
    return count


def conditions(doc, fields: list) -> int:
    """Counts the conditions of a filter and collects the payload keys they need an index for."""
    count = 0
    for clause in ("must", "should", "must_not"):
        items = doc.get(clause) or ()
        for item in [items] if isinstance(items, dict) else items:
            count += condition(item, fields)
    for item in (doc.get("min_should") or {}).get("conditions", ()):
        count += condition(item, fields)
    return count


def condition(item, fields: list) -> int:
    if not isinstance(item, dict):
        return 1
    if any(k in item for k in ("must", "should", "must_not", "min_should")):
        return conditions(item, fields)
    if "nested" in item:
        inner = []
        count = conditions(item["nested"].get("filter") or {}, inner)
        fields.extend(f"{item['nested'].get('key')}[].{k}" for k in inner)
        return count
    if "key" in item:
        fields.append(item["key"])
    return 1


def check_write(collection, cost: int, points: int = 0, selector=None) -> None:
    """Limits for one write; `points`: how many it upserts, `selector`: the filter it works on."""
    strict = collection.strict
    if not strict:
        return
    at_most(collection, "upsert_max_batchsize", points, "upsert limit")
    check_filter(collection, selector, "unindexed_filtering_update")
    most = strict.get("max_points_count")
    if points and most is not None and collection.shard.info().points_count + points > most:
        raise bad_request(
            f"Max points count limit of {most} reached! Help: Delete some points or raise the limit."
        )
    if collection.writes:
        collection.writes.take(max(1, cost))
