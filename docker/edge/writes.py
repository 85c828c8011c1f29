"""Write routes: points, vectors, payloads, batches of them, payload indexes, named vectors.

Everything is applied before the answer, whatever `wait` says; without wait=true it says "acknowledged".
Bodies are checked before the engine sees them: a refused operation must not use up an operation number.
"""

import qdrant_edge as q

import config as cfg
import convert
import indexes
import strict
from convert import filter_in, id_list, point_id
from errors import ApiError, FormatError, bad_request, field, missing, need_list, need_map, wrong_input

U = q.UpdateOperation
MODES = {
    "upsert": q.UpdateMode.Upsert,
    "insert_only": q.UpdateMode.InsertOnly,
    "update_only": q.UpdateMode.UpdateOnly,
}


def answer(request, op_num: int) -> dict:
    return {"operation_id": op_num, "status": "completed" if request.wait else "acknowledged"}


def selector(doc: dict):
    """`points` or `filter` of an operation -> (ids, None) or (None, filter)."""
    if doc.get("points") is not None:
        return id_list(doc["points"]), None
    if doc.get("filter") is not None:
        return None, filter_in(doc["filter"])
    raise bad_request("No filter or points provided")


# ---- single operations: (collection, doc) -> operation number ----

def upsert(collection, doc: dict) -> int:
    points = batch_points(collection, doc["batch"]) if "batch" in doc else list_points(collection, doc)
    strict.check_write(collection, len(points), points=len(points))
    mode = doc.get("update_mode")
    if mode is not None and mode not in MODES:
        raise FormatError(f"unknown variant `{mode}`, expected one of `upsert`, `insert_only`, `update_only`")
    operation = U.upsert_points(points, filter_in(doc.get("update_filter")), MODES[mode] if mode else None)
    return collection.apply(operation, touched=len(points) * collection.point_bytes)


def list_points(collection, doc: dict) -> list:
    rows = doc.get("points")
    if type(rows) is not list:
        raise FormatError("data did not match any variant of untagged enum PointInsertOperations")
    out = []
    for row in rows:
        key, vector, payload = field(row, "id"), field(row, "vector"), row.get("payload")
        if payload is not None:
            need_map(payload, "a map")
        out.append(q.Point(point_id(key), convert.point_vector(collection, vector), payload))
    return out


def batch_points(collection, doc: dict) -> list:
    if type(doc) is not dict or type(doc.get("ids")) is not list or "vectors" not in doc:
        raise FormatError("data did not match any variant of untagged enum PointInsertOperations")
    ids, vectors = doc["ids"], doc["vectors"]
    payloads = doc.get("payloads") or [None] * len(ids)
    if type(vectors) is dict:
        columns = vectors
        for column in columns.values():
            same_length(len(ids), len(need_list(column, "a list of vectors")), "vectors")
        vectors = [{n: c[i] for n, c in columns.items()} for i in range(len(ids))]
    same_length(len(ids), len(need_list(vectors, "a list of vectors")), "vectors")
    same_length(len(ids), len(need_list(payloads, "a list of payloads")), "payloads")
    return [
        q.Point(point_id(i), convert.point_vector(collection, v), p)
        for i, v, p in zip(ids, vectors, payloads)
    ]


def same_length(ids: int, others: int, what: str) -> None:
    if ids != others:
        raise ApiError(422, f"Validation error in JSON body: [batch: number of ids and {what} must be equal "
                            f"({ids} != {others})]", instant=True)


def delete(collection, doc: dict) -> int:
    ids, condition = selector(doc)
    strict.check_write(collection, len(ids) if ids is not None else 1, selector=doc.get("filter"))
    touched = (len(ids) if ids is not None else 1) * collection.point_bytes
    return collection.apply(
        U.delete_points(ids) if ids is not None else U.delete_points_by_filter(condition), touched
    )


def update_vectors(collection, doc: dict) -> int:
    rows = doc.get("points")
    if type(rows) is not list:
        raise missing("points")
    points = []
    for row in rows:
        key, vector = point_id(field(row, "id")), field(row, "vector")
        points.append(q.PointVectors(key, convert.point_vector(collection, vector)))
    strict.check_write(collection, len(points))
    operation = U.update_vectors(points, filter_in(doc.get("update_filter")))
    return collection.apply(operation, touched=len(points) * collection.point_bytes)


def delete_vectors(collection, doc: dict) -> int:
    names = doc.get("vector", doc.get("vectors"))
    if type(names) is not list or not names:
        raise missing("vector")
    for name in names:
        if name not in collection.dense and name not in collection.sparse:
            raise wrong_input(f"Not existing vector name error: {name}")
    # Both may be given: Qdrant then does one operation for each.
    if doc.get("points") is None and doc.get("filter") is None:
        raise bad_request("No filter or points provided")
    strict.check_write(collection, 1, selector=doc.get("filter"))
    number = 0
    if doc.get("filter") is not None:
        number = collection.apply(U.delete_vectors_by_filter(filter_in(doc["filter"]), names))
    if doc.get("points") is not None:
        number = collection.apply(U.delete_vectors(id_list(doc["points"]), names))
    return number


def payload_of(doc: dict) -> dict:
    if doc.get("payload") is None:
        raise missing("payload")
    return need_map(doc["payload"], "a map")


def set_payload(collection, doc: dict) -> int:
    return put_payload(collection, doc, U.set_payload, U.set_payload_by_filter)


def overwrite_payload(collection, doc: dict) -> int:
    return put_payload(collection, doc, U.overwrite_payload, U.overwrite_payload_by_filter)


def put_payload(collection, doc: dict, by_ids, by_filter) -> int:
    payload = payload_of(doc)
    ids, condition = selector(doc)
    strict.check_write(collection, 1, selector=doc.get("filter"))
    if ids is not None:
        return collection.apply(by_ids(ids, payload, doc.get("key")))
    return collection.apply(by_filter(condition, payload, doc.get("key")))


def delete_payload(collection, doc: dict) -> int:
    keys = doc.get("keys")
    if type(keys) is not list:
        raise missing("keys")
    ids, condition = selector(doc)
    strict.check_write(collection, 1, selector=doc.get("filter"))
    return collection.apply(U.delete_payload(ids, keys) if ids is not None
                            else U.delete_payload_by_filter(condition, keys))


def clear_payload(collection, doc: dict) -> int:
    ids, condition = selector(doc)
    strict.check_write(collection, 1, selector=doc.get("filter"))
    return collection.apply(U.clear_payload(ids) if ids is not None else U.clear_payload_by_filter(condition))


OPERATIONS = {
    "upsert": upsert, "delete": delete, "set_payload": set_payload, "overwrite_payload": overwrite_payload,
    "delete_payload": delete_payload, "clear_payload": clear_payload, "update_vectors": update_vectors,
    "delete_vectors": delete_vectors,
}


# ---- routes ----

def single(operation):
    def handler(request):
        collection = request.store.get(request.name)
        return answer(request, operation(collection, request.doc))
    return handler


def batch(request):
    """In order, each for itself: what was applied before a bad one stays, as in Qdrant."""
    rows = request.doc.get("operations")
    if type(rows) is not list:
        raise missing("operations")
    for row in rows:
        if type(row) is not dict or len(row) != 1 or next(iter(row)) not in OPERATIONS:
            raise FormatError("data did not match any variant of untagged enum UpdateOperation")
    collection = request.store.get(request.name)
    out = []
    for row in rows:
        name, doc = next(iter(row.items()))
        out.append(answer(request, OPERATIONS[name](collection, need_map(doc, f"struct {name}"))))
    return out


def create_index(request):
    doc = request.doc
    name = doc.get("field_name")
    if type(name) is not str:
        raise missing("field_name")
    schema = doc.get("field_schema", doc.get("field_type"))
    if schema is None:
        raise bad_request("Can't auto-detect field type, please specify `field_schema` in the request")
    engine_schema = indexes.schema_in(schema)
    collection = request.store.get(request.name)
    strict.at_most(collection, "max_payload_index_count", len(collection.schema.keys() | {name}),
                   "max_payload_index_count")
    if collection.schema.get(name) == schema:
        return answer(request, collection.apply(U.delete_points([])))
    # Qdrant takes two numbers: drop what was there, create.
    collection.apply(U.delete_field_index(name))
    number = collection.apply(U.create_field_index(name, engine_schema))
    collection.schema[name] = schema
    collection.save()
    return answer(request, number)


def delete_index(request):
    collection = request.store.get(request.name)
    number = collection.apply(U.delete_field_index(request.tail))
    collection.schema.pop(request.tail, None)
    collection.save()
    return answer(request, number)


def add_vector(request):
    doc, name = request.doc, request.tail
    kinds = [k for k in ("dense", "sparse") if k in doc]
    if len(kinds) != 1:
        raise FormatError("data did not match any variant of untagged enum VectorNameConfig")
    collection = request.store.get(request.name)
    if name in collection.dense or name in collection.sparse:
        raise wrong_input(f"Vector `{name}` already exists")
    if "" in collection.dense:
        raise wrong_input("Can't add a named vector to a collection with an unnamed one")
    params = collection.config["params"]
    if kinds == ["dense"]:
        vector = cfg.vector_params(name, doc["dense"])
        operation = U.create_dense_vector(
            name, vector["size"], cfg.DISTANCES[vector["distance"]],
            q.MultiVectorConfig(q.MultiVectorComparator.MaxSim) if vector.get("multivector_config") else None,
            cfg.DATATYPES.get(vector.get("datatype")))
        section, value = params.setdefault("vectors", {}), vector
    else:
        section, value = params.setdefault("sparse_vectors", {}), cfg.sparse_params(doc["sparse"])
        operation = U.create_sparse_vector(name, q.Modifier.Idf if value.get("modifier") == "idf" else None)
    number = collection.apply(operation)
    section[name] = value
    collection.refresh()
    collection.save()
    return answer(request, number)


def drop_vector(request):
    name = request.tail
    collection = request.store.get(request.name)
    if name not in collection.dense and name not in collection.sparse:
        raise wrong_input(f"Not existing vector name error: {name}")
    number = collection.apply(U.delete_vector_name(name))
    params = collection.config["params"]
    for section in ("vectors", "sparse_vectors"):
        params.get(section, {}).pop(name, None)
    collection.refresh()
    collection.save()
    return answer(request, number)
