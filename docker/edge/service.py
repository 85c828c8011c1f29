"""Routes about the server: version, health, telemetry, metrics, cluster."""
import collections_api
from web import JSON, Reply, encode

# Clients compare `version` with their own; what really answers is told in `title` and `commit`.
VERSION = "1.18.3"
TITLE = "qdrant - vector search engine (embedded stand-in on qdrant-edge-py 0.9.0)"
COMMIT = "edge-0.9.0-stand-in"


def root(request):
    return Reply(encode({"title": TITLE, "version": VERSION, "commit": COMMIT}), JSON)


def health(request):
    return Reply(b"healthz check passed")


def ready(request):
    return Reply(b"all shards are ready")


def cluster(request):
    return {"status": "disabled"}


def issues(request):
    return {"issues": []}


def clear_issues(request):
    return True


def telemetry(request):
    """details_level as in Qdrant: collections from 1, their shards from 3, segments from 4."""
    store = request.store
    text = request.query.get("details_level", "0")
    level = int(text) if text.isdigit() else 0
    out = {
        "id": store.uuid,
        "app": {
            "name": "qdrant",
            "version": VERSION,
            "startup": collections_api.stamp(store.started),
            "features": {
                "debug": False,
                "service_debug_feature": False,
                "recovery_mode": False,
                "gpu": False,
            },
        },
        "collections": {"number_of_collections": len(store.collections)},
        "cluster": {"enabled": False},
        "requests": {"rest": {"responses": {}}, "grpc": {"responses": {}}},
    }
    if level >= 1:
        out["collections"]["collections"] = [
            collection_telemetry(c, level) for c in store.collections.values()
        ]
    return out


def collection_telemetry(collection, level: int) -> dict:
    if level < 2:
        config = collection.config["params"].get("vectors")
        return {"vectors": collection.shard.info().points_count, "optimizers_status": "ok", "params": {
            **collection.config["params"], "vectors": config}}
    out = {"id": collection.name, "init_time_ms": 1, "config": {**collection.config, "uuid": None}}
    if level >= 3:
        out["shards"] = [{"id": 0, "key": None, "local": shard_telemetry(collection, level), "remote": [],
                          "replicate_states": {str(collection.store.peer_id): "Active"},
                          "partial_snapshot": {"ongoing_create_snapshot_requests": 0, "is_recovering": False,
                                               "recovery_timestamp": 0}}]
    out["transfers"], out["resharding"] = [], []
    return out


def shard_telemetry(collection, level: int) -> dict:
    info = collection.shard.info()
    out = {"variant_name": "local shard", "status": "yellow" if collection.pending() else "green",
           "total_optimized_points": collection.total_optimized,
           "vectors_size_bytes": info.points_count * collection.point_bytes, "payloads_size_bytes": 0,
           "num_points": info.points_count, "num_vectors": info.points_count * max(1, len(collection.dense)),
           "num_vectors_by_name": {name: info.points_count for name in collection.dense}}
    if level >= 4:
        out["segments"] = [{"info": {"uuid": s["uuid"], "num_points": s["points_count"]}}
                           for s in collections_api.segment_points(collection, info)]
    out["optimizations"] = {"status": "ok", "optimizations": {"count": len(collection.completed),
                                                              "total_duration_micros": 0}, "log": []}
    out["async_scorer"] = False
    out["indexed_only_excluded_vectors"] = {name: 0 for name in collection.dense}
    out["update_queue"] = {"length": 0, "op_num": collection.op_num}
    return out


def metrics(request):
    store = request.store
    lines = [
        "# HELP app_info information about qdrant server",
        "# TYPE app_info gauge",
        f'app_info{{name="qdrant",version="{VERSION}"}} 1',
        "# HELP collections_total number of collections",
        "# TYPE collections_total gauge",
        f"collections_total {len(store.collections)}",
        "# HELP collection_points approximate amount of points per collection",
        "# TYPE collection_points gauge",
    ]
    lines += [f'collection_points{{id="{name}"}} {c.shard.info().points_count}'
              for name, c in store.collections.items()]
    return Reply("\n".join(lines).encode() + b"\n", b"text/plain; version=0.0.4")
