"""Query bodies -> engine requests: search, recommend, discover, and the universal query with its tree.

A Builder belongs to one query: it resolves ids to vectors (also from another collection, lookup_from) and
remembers which ids the answer must leave out.
"""

import qdrant_edge as q

import convert
import errors
from convert import filter_in, vector_in
from errors import (
    FormatError,
    field,
    invalid,
    missing,
    need_list,
    need_map,
    no_inference,
    wrong_input,
    wrong_type,
)

QUERY_LIMIT = 10


def check_params(doc: dict, at: str) -> dict:
    """Types (400) and ranges (422) of `params`; returns it, never None. `at`: the path in messages."""
    params = doc.get("params")
    if not params:
        if params is None or params == {}:
            return {}
        raise wrong_type(params, "struct SearchParams")
    if type(params) is not dict:
        raise wrong_type(params, "struct SearchParams")
    need_uint(params, "hnsw_ef")
    need_bool(params, "exact")
    need_bool(params, "indexed_only")
    need_map(params.get("acorn") or {}, "struct AcornSearchParams")
    quantization = need_map(params.get("quantization") or {}, "struct QuantizationSearchParams")
    need_bool(quantization, "ignore")
    need_bool(quantization, "rescore")
    oversampling = quantization.get("oversampling")
    if oversampling is not None:
        if type(oversampling) not in (int, float):
            raise wrong_type(oversampling, "f64")
        if oversampling < 1.0:
            raise invalid(at + "params.quantization.oversampling", oversampling, "1.0 or larger")
    return params


def need_uint(doc: dict, key: str):
    value = doc.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise wrong_type(value, "usize")
    return value


def need_bool(doc: dict, key: str):
    value = doc.get(key)
    if value is not None and type(value) is not bool:
        raise wrong_type(value, "a boolean")
    return value


def need_limit(doc: dict, at: str, default=None, key: str = "limit") -> int:
    """A limit of at least 1; without a default it is required. `top` is another name for a limit."""
    if key == "limit" and "limit" in doc and "top" in doc:
        raise FormatError("duplicate field `limit`")
    value = doc.get(key, doc.get("top") if key == "limit" else None)
    if value is None:
        if default is None:
            raise missing(key)
        return default
    if type(value) is not int or value < 0:
        raise wrong_type(value, "usize")
    if value == 0:
        raise invalid(at + key, 0, "1 or larger")
    return value


def engine_params(params: dict):
    if not params:
        return None
    quantization, acorn = params.get("quantization"), params.get("acorn")
    if quantization:
        quantization = q.QuantizationSearchParams(
            ignore=quantization.get("ignore") or False, rescore=quantization.get("rescore"),
            oversampling=quantization.get("oversampling"))
    if acorn:
        acorn = q.AcornSearchParams(
            enable=acorn.get("enable") or False, max_selectivity=acorn.get("max_selectivity")
        )
    return q.SearchParams(hnsw_ef=params.get("hnsw_ef"), exact=params.get("exact") or False,
                          quantization=quantization or None, indexed_only=params.get("indexed_only") or False,
                          acorn=acorn or None)


def check_search(doc: dict, at: str = "search_request.") -> None:
    """What can be refused without the collection: the order in which Qdrant looks."""
    if "vector" not in doc:
        raise missing("vector")
    need_limit(doc, at)
    check_params(doc, at)


def check_examples(doc: dict, at: str) -> None:
    need_limit(doc, at)
    check_params(doc, at)


def check_query(doc: dict, at: str = "internal.") -> None:
    need_limit(doc, at, QUERY_LIMIT)
    check_params(doc, at)
    for child in prefetches(doc):
        check_query(need_map(child, "struct Prefetch"), at + "prefetch.")


def prefetches(doc: dict) -> list:
    """`prefetch` may be absent, null, one object or a list of them."""
    given = doc.get("prefetch")
    if given is None:
        return []
    return [given] if type(given) is dict else need_list(given, "a prefetch or a list of them")


def using_of(doc: dict) -> str:
    using = doc.get("using") or ""
    if type(using) is not str:
        raise wrong_type(using, "a string")
    return using


class Builder:
    def __init__(self, collection, lookup_doc=None):
        self.collection = collection
        self.lookup, self.lookup_vector = None, None
        if lookup_doc:
            name = field(lookup_doc, "collection")
            store = collection.store
            self.lookup = store.collections.get(name) or store.collections.get(store.aliases.get(name))
            if self.lookup is None:
                raise errors.no_lookup(name)
            self.lookup_vector = lookup_doc.get("vector")
        self.used_ids = set()

    def vector(self, value, using: str):
        """A vector, or the id of a point that has one -> the engine's vector."""
        if type(value) is list or convert.is_sparse(value):
            return vector_in(self.collection, using, value)
        if type(value) in (int, str):
            return self.by_id(convert.point_id(value), using)
        if type(value) is dict and convert.wants_inference(value):
            raise no_inference()
        raise FormatError("data did not match any variant of untagged enum VectorInput")

    def by_id(self, point_id, using: str):
        source, name = self.collection, using
        if self.lookup is not None:
            source, name = self.lookup, using if self.lookup_vector is None else self.lookup_vector
        if name and name not in source.dense and name not in source.sparse:
            raise wrong_input(f"Not existing vector name error: {name}")
        rows = source.shard.retrieve([point_id], False, [name] if name else True)
        if not rows or rows[0].vector is None:
            raise errors.no_point(point_id)
        found = rows[0].vector
        if type(found) is dict:
            if name not in found:
                raise errors.no_point(point_id)
            found = found[name]
        if self.lookup is None:
            self.used_ids.add(point_id)
        elif (
            type(found) is list
            and name == using
            and type(found[0]) is not list
            and using in self.collection.dense
        ):
            convert.check_size(self.collection.dense[using], found)
        return found

    def many(self, values, using: str) -> list:
        values = values if type(values) is list else [] if values is None else [values]
        if values and type(values[0]) in (float, int) and any(type(v) is float for v in values):
            values = [values]
        return [self.vector(v, using) for v in values]

    def recommend(self, doc: dict, using: str):
        need_map(doc, "struct RecommendInput")
        positives, negatives = self.many(doc.get("positive"), using), self.many(doc.get("negative"), using)
        strategy = doc.get("strategy") or "average_vector"
        if strategy == "average_vector":
            if not positives:
                raise wrong_input("At least one positive vector ID required with this strategy")
            return q.Query.Nearest(average(positives, negatives), using or None)
        if strategy not in STRATEGIES:
            raise FormatError(
                f"unknown variant `{strategy}`, expected one of `average_vector`, `best_score`, "
                f"`sum_scores`"
            )
        if not positives and not negatives:
            raise wrong_input("At least one positive or negative vector ID required with this strategy")
        return STRATEGIES[strategy](q.RecommendQuery(positives, negatives), using or None)

    def pairs(self, context, using: str) -> list:
        context = context if type(context) is list else [] if context is None else [context]
        out = []
        for pair in context:
            if type(pair) is not dict or "positive" not in pair or "negative" not in pair:
                raise FormatError("data did not match any variant of untagged enum ContextInput")
            out.append(
                q.ContextPair(self.vector(pair["positive"], using), self.vector(pair["negative"], using))
            )
        return out

    def discover(self, doc: dict, using: str):
        need_map(doc, "struct DiscoverInput")
        pairs = self.pairs(doc.get("context"), using)
        if doc.get("target") is None:
            if not pairs:
                raise wrong_input("Either target or context must be specified")
            return q.Query.Context(q.ContextQuery(pairs), using or None)
        return q.Query.Discover(q.DiscoverQuery(self.vector(doc["target"], using), pairs), using or None)

    def query(self, doc, using: str, limit: int):
        """The `query` member of the universal query, any of its forms, or None."""
        if doc is None:
            return None
        if type(doc) is not dict or convert.is_sparse(doc) or convert.wants_inference(doc):
            return q.Query.Nearest(self.vector(doc, using), using or None)
        for form, make in FORMS.items():
            if form in doc:
                return make(self, doc, using, limit)
        raise FormatError("data did not match any variant of untagged enum QueryInterface")


def average(positives: list, negatives: list):
    """avg(positive) + avg(positive) - avg(negative), or avg(positive) if there is nothing to avoid."""
    first = positives[0]
    if isinstance(first, q.SparseVector):
        return sparse_average(positives, negatives)
    if first and type(first[0]) is list:
        raise wrong_input("Conversion between multi and regular vectors failed")
    mean = [sum(column) / len(positives) for column in zip(*positives)]
    if not negatives:
        return mean
    other = [sum(column) / len(negatives) for column in zip(*negatives)]
    return [p + p - n for p, n in zip(mean, other)]


def sparse_average(positives: list, negatives: list):
    total = {}
    weight = (2.0 if negatives else 1.0) / len(positives)
    for vector in positives:
        for i, v in zip(vector.indices, vector.values):
            total[i] = total.get(i, 0.0) + v * weight
    for vector in negatives:
        for i, v in zip(vector.indices, vector.values):
            total[i] = total.get(i, 0.0) - v / len(negatives)
    indices = sorted(total)
    return q.SparseVector(indices, [total[i] for i in indices])


STRATEGIES = {"best_score": q.Query.RecommendBestScore, "sum_scores": q.Query.RecommendSumScores}


# ---- forms of `query` ----

def form_nearest(builder, doc, using, limit):
    vector = builder.vector(doc["nearest"], using)
    if doc.get("mmr") is None:
        return q.Query.Nearest(vector, using or None)
    mmr = need_map(doc["mmr"], "struct Mmr")
    diversity = mmr.get("diversity")
    diversity = 0.5 if diversity is None else diversity
    if not 0.0 <= diversity <= 1.0:
        raise invalid("internal.query.mmr.diversity", diversity, "from 0.0 to 1.0")
    candidates = mmr.get("candidates_limit") or limit
    return q.Mmr(vector, 1.0 - diversity, candidates, using=using or None)


def form_order_by(builder, doc, using, limit):
    return order_by(doc["order_by"])


def order_by(doc):
    if type(doc) is str:
        return q.OrderBy(doc)
    if type(doc) is not dict or "key" not in doc:
        raise FormatError("data did not match any variant of untagged enum OrderByInterface")
    direction = doc.get("direction") or "asc"
    if direction not in DIRECTIONS:
        raise FormatError(f"unknown variant `{direction}`, expected `asc` or `desc`")
    return q.OrderBy(doc["key"], DIRECTIONS[direction], doc.get("start_from"))


DIRECTIONS = {"asc": q.Direction.Asc, "desc": q.Direction.Desc}


def form_fusion(builder, doc, using, limit):
    if doc["fusion"] not in FUSIONS:
        raise FormatError(f"unknown variant `{doc['fusion']}`, expected `rrf` or `dbsf`")
    return FUSIONS[doc["fusion"]]()


FUSIONS = {"rrf": lambda: q.Fusion.Rrf(2), "dbsf": lambda: q.Fusion.Dbsf()}


def form_rrf(builder, doc, using, limit):
    rrf = need_map(doc["rrf"] or {}, "struct Rrf")
    k = need_uint(rrf, "k")
    if k == 0:
        raise invalid("internal.query.rrf.k", 0, "1 or larger")
    return q.Fusion.Rrf(k or 2, rrf.get("weights"))


def form_sample(builder, doc, using, limit):
    if doc["sample"] != "random":
        raise FormatError(f"unknown variant `{doc['sample']}`, expected `random`")
    return q.Sample.Random


def form_formula(builder, doc, using, limit):
    return q.Formula(expression(doc["formula"]), doc.get("defaults") or {})


def form_feedback(builder, doc, using, limit):
    doc = doc["relevance_feedback"]
    items = [q.FeedbackItem(builder.vector(field(f, "example"), using), field(f, "score"))
             for f in need_list(field(doc, "feedback"), "feedback")]
    naive = field(field(doc, "strategy"), "naive")
    strategy = q.NaiveFeedbackStrategy(*(field(naive, k) for k in "abc"))
    target = builder.vector(field(doc, "target"), using)
    return q.Query.FeedbackNaive(q.FeedbackNaiveQuery(target, items, strategy), using or None)


FORMS = {
    "nearest": form_nearest,
    "recommend": lambda b, doc, using, limit: b.recommend(doc["recommend"], using),
    "discover": lambda b, doc, using, limit: b.discover(doc["discover"], using),
    "context": lambda b, doc, using, limit: q.Query.Context(q.ContextQuery(b.pairs(doc["context"], using)),
                                                            using or None),
    "order_by": form_order_by,
    "fusion": form_fusion,
    "rrf": form_rrf,
    "sample": form_sample,
    "formula": form_formula,
    "relevance_feedback": form_feedback,
}


# ---- formula expressions ----

E = q.Expression
DECAY = {"lin_decay": q.DecayKind.Lin, "gauss_decay": q.DecayKind.Gauss, "exp_decay": q.DecayKind.Exp}
LISTS = {"mult": E.Mult, "sum": E.Sum, "max": E.Max, "min": E.Min}
UNARY = {
    "neg": E.Neg,
    "sqrt": E.Sqrt,
    "exp": E.Exp,
    "log10": E.Log10,
    "ln": E.Ln,
    "abs": E.Abs,
    "acosh": E.Acosh,
}


def expression(doc):
    if type(doc) in (int, float):
        return E.Constant(float(doc))
    if type(doc) is str:
        return E.Variable(doc)
    if type(doc) is not dict or not doc:
        raise FormatError("data did not match any variant of untagged enum Expression")
    key, value = next(iter(doc.items()))
    if key in LISTS:
        return LISTS[key]([expression(v) for v in need_list(value, "a list of expressions")])
    if key in UNARY:
        return UNARY[key](expression(value))
    if key in DECAY:
        target = need_map(value, "struct DecayParams").get("target")
        return E.Decay(
            DECAY[key],
            expression(field(value, "x")),
            None if target is None else expression(target),
            value.get("midpoint"),
            value.get("scale"),
        )
    if key == "div":
        return E.Div(
            expression(field(value, "left")), expression(field(value, "right")), value.get("by_zero_default")
        )
    if key == "pow":
        return E.Pow(expression(field(value, "base")), expression(field(value, "exponent")))
    if key == "geo_distance":
        return E.GeoDistance(convert.geo_point(field(value, "origin")), field(value, "to"))
    if key == "datetime":
        return E.Datetime(value)
    if key == "datetime_key":
        return E.DatetimeKey(value)
    return E.Condition(convert.condition(doc))


# ---- whole requests ----

def request(collection, doc: dict, query, used_ids: set, limit: int, children=(), **override):
    """Fields that every read shares. `override`: with_payload and with_vector where the caller decides."""
    with_payload = override.get("with_payload", convert.payload_selector(doc.get("with_payload"), False))
    with_vector = override.get("with_vector", convert.vector_selector(doc))
    return q.QueryRequest(
        limit=limit, offset=need_uint(doc, "offset") or 0, query=query, prefetches=list(children),
        with_vector=with_vector, with_payload=with_payload,
        filter=convert.also_not(filter_in(doc.get("filter")), used_ids),
        score_threshold=doc.get("score_threshold"), params=engine_params(doc.get("params")))


def search(collection, doc: dict, limit: int, **override):
    vector, name = doc["vector"], ""
    if type(vector) is dict and "name" in vector:
        vector, name = vector.get("vector"), vector["name"]
    return request(
        collection,
        doc,
        q.Query.Nearest(vector_in(collection, name, vector), name or None),
        set(),
        limit,
        **override,
    )


def recommend(collection, doc: dict, limit: int, **override):
    builder = Builder(collection, doc.get("lookup_from"))
    query = builder.recommend(doc, using_name(doc))
    return request(collection, doc, query, builder.used_ids, limit, **override)


def discover(collection, doc: dict, limit: int, **override):
    builder = Builder(collection, doc.get("lookup_from"))
    query = builder.discover(doc, using_name(doc))
    return request(collection, doc, query, builder.used_ids, limit, **override)


def using_name(doc: dict) -> str:
    """`using` of recommend and discover: a name, or an object that holds one."""
    using = doc.get("using") or ""
    return field(using, "name") if type(using) is dict else using_of(doc)


def universal(collection, doc: dict, limit: int, **override):
    builder = Builder(collection, doc.get("lookup_from"))
    query = builder.query(doc.get("query"), using_of(doc), limit)
    children = [prefetch(collection, child) for child in prefetches(doc)]
    if children and query is None:
        raise wrong_input(
            "A query is needed to merge the prefetches. Can't have prefetches without defining a query."
        )
    if isinstance(query, (q.Fusion.Rrf, q.Fusion.Dbsf, q.Formula)) and not children:
        raise wrong_input("A fusion or formula query needs at least one prefetch")
    return request(collection, doc, query, builder.used_ids, limit, children, **override)


def prefetch(collection, doc: dict):
    builder = Builder(collection, doc.get("lookup_from"))
    limit = need_limit(doc, "internal.prefetch.", QUERY_LIMIT)
    query = builder.query(doc.get("query"), using_of(doc), limit)
    return q.Prefetch(
        limit=limit, query=query, prefetches=[prefetch(collection, child) for child in prefetches(doc)],
        params=engine_params(doc.get("params")), score_threshold=doc.get("score_threshold"),
        filter=convert.also_not(filter_in(doc.get("filter")), builder.used_ids))
