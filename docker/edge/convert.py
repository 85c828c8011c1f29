"""JSON <-> engine values: ids, vectors, payload selectors, filters; points and records back to JSON.

The engine takes almost anything (unsorted sparse vectors, sizes that differ); what REST
refuses is refused here.
Numbers come back from the engine as doubles; float32 arrays make orjson print them as Qdrant does.
"""

import uuid

import numpy as np
import qdrant_edge as q

from errors import (
    ApiError,
    FormatError,
    field,
    missing,
    need_list,
    need_map,
    no_inference,
    wrong_input,
    wrong_type,
)

F32 = np.float32
# {"text": ..., "model": ...} and the like ask for inference; the same words may also name vectors.
INFERENCE = ("text", "image", "object")
FILTER_KEYS = {"must", "should", "must_not", "min_should"}


# ---- ids ----

def point_id(value):
    """int or UUID text -> what the engine takes; 400 for the rest."""
    kind = type(value)
    if kind is int and 0 <= value < 2**64:
        return value
    if kind is str:
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    raise FormatError(
        f"value {value} is not a valid point ID, valid values are either an unsigned integer or a UUID"
    )


def path_id(text: str):
    """The id in GET P/{id}: digits or a UUID."""
    if text.isdigit() and int(text) < 2**64:
        return int(text)
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ApiError(400, f"Bad request: Can not recognize \"{text}\" as point id") from None


def id_out(value):
    return value if type(value) is int else str(value)


def id_list(value, field: str = "points") -> list:
    if not isinstance(value, list):
        raise wrong_type(value, f"a sequence for {field}")
    return [point_id(v) for v in value]


# ---- vectors in ----

def is_sparse(value) -> bool:
    return type(value) is dict and "indices" in value


def sparse_vector(value: dict):
    indices, values = value.get("indices"), value.get("values")
    if not isinstance(indices, list) or not isinstance(values, list):
        raise missing("values" if isinstance(indices, list) else "indices")
    if len(indices) != len(values):
        raise validation("values", "must be the same length as indices")
    if len(set(indices)) != len(indices):
        raise validation("indices", "must be unique")
    if any(type(i) is not int or i < 0 for i in indices):
        raise FormatError("invalid value in `indices`, expected u32")
    if any(a > b for a, b in zip(indices, indices[1:])):
        order = sorted(range(len(indices)), key=indices.__getitem__)
        indices, values = [indices[i] for i in order], [values[i] for i in order]
    return q.SparseVector(indices, [float(v) for v in values])


def validation(field: str, text: str) -> ApiError:
    return ApiError(422, f"Validation error in JSON body: [{field}: {text}]", instant=True)


def check_size(params: dict, vector: list) -> None:
    if len(vector) != params["size"]:
        raise wrong_input(f"Vector dimension error: expected dim: {params['size']}, got {len(vector)}")


def wants_inference(value: dict) -> bool:
    return type(value.get("model")) is str and any(k in value for k in INFERENCE)


def vector_in(collection, name: str, value):
    """One vector of the (possibly unnamed) space `name`, checked for kind and size."""
    if type(value) is dict:
        if wants_inference(value):
            raise no_inference()
        if not is_sparse(value):
            raise FormatError("data did not match any variant of untagged enum VectorStruct")
        if name not in collection.sparse:
            raise unknown_vector(collection, name)
        return sparse_vector(value)
    if type(value) is not list:
        raise FormatError("data did not match any variant of untagged enum VectorStruct")
    params = collection.dense.get(name)
    if params is None:
        raise unknown_vector(collection, name)
    if value and type(value[0]) is list:
        if not params.get("multivector_config"):
            raise wrong_input("Conversion between multi and regular vectors failed")
        for row in value:
            check_size(params, row)
        return value
    check_size(params, value)
    return [value] if params.get("multivector_config") else value


def unknown_vector(collection, name: str) -> ApiError:
    if name in collection.sparse or name in collection.dense:
        return wrong_input(f"Conversion between sparse and regular vectors failed for `{name}`")
    return wrong_input(f"Not existing vector name error: {name}")


def point_vector(collection, value):
    """The `vector` of a point to store: unnamed or a map of names."""
    if type(value) is dict:
        if wants_inference(value):
            raise no_inference()
        return {name: vector_in(collection, name, v) for name, v in value.items()}
    return vector_in(collection, "", value)


# ---- selectors and filters ----

def payload_selector(value, default):
    """`with_payload` -> engine."""
    if value is None:
        return default
    if type(value) is bool or type(value) is list:
        return value
    if type(value) is dict and "include" in value:
        return q.PayloadSelector.Include(value["include"])
    if type(value) is dict and "exclude" in value:
        return q.PayloadSelector.Exclude(value["exclude"])
    raise FormatError("data did not match any variant of untagged enum WithPayloadInterface")


def vector_selector(doc: dict, default=False):
    if "with_vector" in doc and "with_vectors" in doc:
        raise FormatError("duplicate field `with_vector`")
    value = doc.get("with_vector", doc.get("with_vectors"))
    if value is None:
        return default
    if type(value) is bool or type(value) is list:
        return value
    raise FormatError("data did not match any variant of untagged enum WithVector")


def filter_in(doc):
    """Filter JSON -> engine filter, or None."""
    if doc is None:
        return None
    if type(doc) is not dict:
        raise wrong_type(doc, "struct Filter")
    for key in doc:
        if key not in FILTER_KEYS:
            raise FormatError(
                f"unknown field `{key}`, expected one of `should`, `min_should`, `must`, `must_not`"
            )
    return q.Filter(must=clause(doc.get("must")), should=clause(doc.get("should")),
                    must_not=clause(doc.get("must_not")), min_should=min_should(doc.get("min_should")))


def clause(items):
    if items is None:
        return None
    return [condition(item) for item in ([items] if type(items) is dict else need_list(items, "conditions"))]


def min_should(doc):
    if doc is None:
        return None
    return q.MinShould(clause(field(doc, "conditions")), field(doc, "min_count"))


def condition(doc):
    if type(doc) is not dict:
        raise wrong_type(doc, "a filter condition")
    if "key" in doc:          # before the others: a field condition may hold is_empty and is_null itself
        return field_condition(doc)
    for key, make in CONDITIONS.items():
        if key in doc:
            return make(doc[key])
    if FILTER_KEYS & doc.keys():
        return filter_in(doc)
    raise FormatError("data did not match any variant of untagged enum Condition")


def field_condition(doc: dict):
    parts = {name: make(doc[name]) for name, make in FIELD_PARTS.items() if doc.get(name) is not None}
    if not parts:
        raise validation("filter", "At least one field condition must be specified")
    return q.FieldCondition(key=doc["key"], **parts)


def match(doc):
    need_map(doc, "struct Match")
    for key, make in MATCHES.items():
        if key in doc:
            value = doc[key]
            if key == "value" and type(value) not in (str, int, bool):
                break
            return make(value)
    raise FormatError("data did not match any variant of untagged enum Match")


def value_range(doc):
    need_map(doc, "struct Range")
    bounds = {k: doc[k] for k in ("gte", "gt", "lte", "lt") if doc.get(k) is not None}
    if any(type(v) is str for v in bounds.values()):
        return q.RangeDateTime(**bounds)
    return q.RangeFloat(**bounds)


def geo_point(doc):
    return q.GeoPoint(lon=field(doc, "lon"), lat=field(doc, "lat"))


def geo_line(doc) -> list:
    return [geo_point(p) for p in need_list(field(doc, "points"), "points")]


def geo_polygon(doc):
    interiors = [geo_line(line) for line in need_list(doc.get("interiors") or [], "interiors")]
    return q.GeoPolygon(geo_line(field(doc, "exterior")), interiors or None)


def values_count(doc):
    need_map(doc, "struct ValuesCount")
    return q.ValuesCount(**{k: doc[k] for k in ("lt", "gt", "lte", "gte") if doc.get(k) is not None})


def match_value(value):
    """The binding reads a Python bool as an integer (True would match 1); numpy's it takes for what it is."""
    return q.MatchValue(np.bool_(value) if type(value) is bool else value)


CONDITIONS = {
    "is_empty": lambda d: q.IsEmptyCondition(field(d, "key")),
    "is_null": lambda d: q.IsNullCondition(field(d, "key")),
    "has_id": lambda d: q.HasIdCondition(set(id_list(d, "has_id"))),
    "has_vector": q.HasVectorCondition,
    "nested": lambda d: q.NestedCondition(field(d, "key"), filter_in(field(d, "filter"))),
}
MATCHES = {"value": match_value, "text": q.MatchText, "text_any": q.MatchTextAny, "phrase": q.MatchPhrase,
           "prefix": q.MatchPrefix, "any": q.MatchAny, "except": q.MatchExcept, "keyword": match_value,
           "integer": match_value}
FIELD_PARTS = {
    "match": match,
    "range": value_range,
    "geo_bounding_box": lambda d: q.GeoBoundingBox(
        geo_point(field(d, "top_left")), geo_point(field(d, "bottom_right"))
    ),
    "geo_radius": lambda d: q.GeoRadius(geo_point(field(d, "center")), field(d, "radius")),
    "geo_polygon": lambda d: geo_polygon(need_map(d, "struct GeoPolygon")),
    "values_count": values_count,
    "is_empty": lambda d: d,
    "is_null": lambda d: d,
}


def also_not(condition_filter, ids: set):
    """The filter, and none of these ids: what a query by id leaves out of its own answer."""
    if not ids:
        return condition_filter
    must = [condition_filter] if condition_filter is not None else None
    return q.Filter(must=must, must_not=[q.HasIdCondition(ids)])


# ---- answers ----

def vector_out(value):
    if type(value) is list:
        return np.array(value, dtype=F32)
    if type(value) is dict:
        return {name: vector_out(v) for name, v in value.items()}
    return {"indices": list(value.indices), "values": np.array(value.values, dtype=F32)}


def scored(points: list, payload: bool, vector: bool) -> list:
    """ScoredPoints -> JSON; the flags say whether the request asked for these at all."""
    out = []
    for p in points:
        item = {"id": id_out(p.id), "version": p.version, "score": F32(p.score)}
        if payload and p.payload is not None:
            item["payload"] = p.payload
        if vector and p.vector is not None:
            item["vector"] = vector_out(p.vector)
        if p.order_value is not None:
            item["order_value"] = p.order_value
        out.append(item)
    return out


def records(rows: list, payload: bool, vector: bool) -> list:
    out = []
    for r in rows:
        item = {"id": id_out(r.id)}
        if payload and r.payload is not None:
            item["payload"] = r.payload
        if vector and r.vector is not None:
            item["vector"] = vector_out(r.vector)
        if r.order_value is not None:
            item["order_value"] = r.order_value
        out.append(item)
    return out
