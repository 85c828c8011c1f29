"""Routes about collections as such: create, patch, delete, info, lists, aliases, and the reports on them."""
import datetime
import os
import uuid

import indexes
from errors import FormatError, invalid, missing, unsupported
from store import ALIAS_ACTIONS, ALIAS_FIELDS
import config as cfg


def list_collections(request):
    return {"collections": [{"name": name} for name in sorted(request.store.collections)]}


def exists(request):
    store = request.store
    return {"exists": request.name in store.collections or request.name in store.aliases}


def create(request):
    return request.store.create(request.name, request.doc)


def delete(request):
    return request.store.delete(request.name)


def patch(request):
    doc = request.doc
    for key in ("vectors", "sparse_vectors"):
        if doc.get(key) is not None and type(doc[key]) is not dict:
            raise FormatError(f"invalid type for `{key}`, expected a map")
    # Refuse what is wrong before asking whether the collection is there, as Qdrant does.
    for name, others in (("hnsw_config", ()), ("optimizers_config", ("optimizer_config",)), ("params", ()),
                         ("strict_mode_config", ())):
        cfg.section(doc, name, *others)
    collection = request.store.get(request.name)
    new, rebuild = cfg.patch(collection.config, doc)
    if new != collection.config:
        collection.reconfigure(new, rebuild)
    return True


def info(request):
    collection = request.store.get(request.name)
    shard = collection.shard.info()
    points = {name: entry.points for name, entry in shard.payload_schema.items()}
    schema = {name: indexes.schema_out(s, points.get(name, 0)) for name, s in collection.schema.items()}
    return {"status": "yellow" if collection.pending() else "green", "optimizer_status": "ok",
            "indexed_vectors_count": shard.indexed_vectors_count, "points_count": shard.points_count,
            "segments_count": shard.segments_count, "config": collection.config, "payload_schema": schema,
            "update_queue": {"length": 0}}


def list_aliases(request):
    aliases = request.store.aliases
    return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in sorted(aliases.items())]}


def collection_aliases(request):
    name = request.store.get(request.name).name
    aliases = request.store.aliases
    return {
        "aliases": [{"alias_name": a, "collection_name": c} for a, c in sorted(aliases.items()) if c == name]
    }


def change_aliases(request):
    actions = request.doc.get("actions")
    if type(actions) is not list:
        raise missing("actions")
    for action in actions:
        if type(action) is not dict or len(action) != 1 or next(iter(action)) not in ALIAS_ACTIONS:
            raise FormatError("data did not match any variant of untagged enum AliasOperations")
        kind, args = next(iter(action.items()))
        for field in ALIAS_FIELDS[kind]:
            if type(args) is not dict or type(args.get(field)) is not str:
                raise FormatError("data did not match any variant of untagged enum AliasOperations")
            if not args[field]:
                raise invalid(f"actions.{kind}.{field}", '""', "from 1 to 255 characters")
    return request.store.change_aliases(actions)


def cluster(request):
    collection = request.store.get(request.name)
    shard = {"shard_id": 0, "points_count": collection.shard.info().points_count, "state": "Active"}
    return {"peer_id": request.store.peer_id, "shard_count": 1, "local_shards": [shard], "remote_shards": [],
            "shard_transfers": []}


def change_cluster(request):
    request.store.get(request.name)
    raise unsupported("moving shards")


def optimizations(request):
    """The engine tells nothing of its planner: what is queued is what waits for the next optimize()."""
    collection = request.store.get(request.name)
    wanted = request.query.get("with", "").split(",")
    info_now, pending = collection.shard.info(), collection.pending()
    segments = segment_points(collection, info_now)
    queued = [{"optimizer": "indexing", "segments": segments}] if pending else []
    out = {
        "summary": {
            "queued_optimizations": len(queued),
            "queued_segments": len(segments) if pending else 0,
            "queued_points": info_now.points_count if pending else 0,
            "idle_segments": 0 if pending else len(segments),
        },
        "running": [],
    }
    if "queued" in wanted:
        out["queued"] = queued
    if "completed" in wanted:
        out["completed"] = [completed(collection, *entry) for entry in collection.completed]
    if "idle_segments" in wanted:
        out["idle_segments"] = [] if pending else segments
    return out


def segment_points(collection, info_now) -> list:
    """Segment ids; all points are shown in the first, the engine does not say how they are spread."""
    ids = sorted(collection.shard.snapshot_manifest())
    return [{"uuid": i, "points_count": info_now.points_count if n == 0 else 0} for n, i in enumerate(ids)]


def completed(collection, start: float, end: float, points: int) -> dict:
    return {"uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{collection.name}{start}")), "optimizer": "indexing",
            "status": "done", "segments": [],
            "progress": {"name": "Segment Optimizing", "started_at": stamp(start), "finished_at": stamp(end),
                         "duration_sec": round(end - start, 9), "done": points, "total": points}}


def stamp(when: float) -> str:
    return datetime.datetime.fromtimestamp(when, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def disk_use(path: str) -> int:
    """Bytes the files really take; they are sparse, their lengths mean little."""
    total = 0
    for root, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_blocks * 512
            except FileNotFoundError:       # a segment may go while we look
                pass
    return total


def amounts(disk: int = 0, ram: int = 0, cached: int = 0, expected: int = 0) -> dict:
    return {"disk_bytes": disk, "ram_bytes": ram, "cached_bytes": cached, "expected_cache_bytes": expected}


def memory(request):
    """Disk is measured, vectors are computed, the rest is zero: the engine reports nothing."""
    collection = request.store.get(request.name)
    shard = collection.shard.info()
    vectors = []
    for name, params in collection.dense.items():
        size = shard.points_count * params["size"] * 4
        links = shard.indexed_vectors_count * collection.config["hnsw_config"]["m"] * 8
        entry = {"name": name, "storage": amounts(size, 0, size, size), "index": amounts(links, links, 0, 0)}
        if collection.config["quantization_config"]:
            entry["quantized"] = amounts(size // 4, size // 4, 0, 0)
        vectors.append(entry)
    sparse = [{"name": n, "storage": amounts(), "index": amounts()} for n in collection.sparse]
    disk = disk_use(collection.shard_path)
    used = sum(v["storage"]["disk_bytes"] for v in vectors)
    ram = sum(v["index"]["ram_bytes"] + v.get("quantized", amounts())["ram_bytes"] for v in vectors)
    return {"total": amounts(max(disk, used), ram, used, used), "vectors": vectors, "sparse_vectors": sparse,
            "payload": amounts(max(0, disk - used)),
            "payload_index": [{"name": n, **amounts()} for n in collection.schema],
            "other": {"id_tracker": amounts(0, 60 * shard.points_count if shard.points_count > 1000 else 0)}}
