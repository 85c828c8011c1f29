"""Collections and aliases, their files, and when the engine optimises and flushes.

Layout: DATA/aliases.json, DATA/collections/<uuid>/meta.json beside shard/ (the engine's). A directory without
meta.json is litter of an interrupted create or delete and is removed at start. Owner: the one event loop.

When a shard is optimised (the engine never does it by itself): SETTLE seconds after the last write or PATCH,
or LATEST seconds after the first if writes never pause. Until then info says yellow if there is enough to
index; green means done. With nothing to do optimize() costs microseconds: no rule of ours second-guesses it.
"""

import asyncio
import fcntl
import os
import shutil
import sys
import time
import uuid

import orjson
import qdrant_edge as q

import config as cfg
from errors import ApiError, bad_request, no_collection, wrong_input
from strict import Limiter

SETTLE = 0.5      # longer than a Python client takes to encode its next hundred 4096-D points
LATEST = 10.0
FORBIDDEN = set('<>:"/\\|?*\0\x1f')
META = "meta.json"


def write_json(path: str, value) -> None:
    with open(path + ".new", "wb") as out:
        out.write(orjson.dumps(value))
        out.flush()
        os.fsync(out.fileno())
    os.replace(path + ".new", path)


class Collection:
    """One shard with its REST configuration. `op_num` is the last operation number handed out."""

    def __init__(self, store, path: str, name: str, config: dict):
        self.store, self.path, self.name, self.config = store, path, name, config
        self.shard_path = os.path.join(path, "shard")
        self.schema, self.op_num, self.created = {}, 0, time.time()
        self.dirty, self.unindexed_bytes, self.first_write = False, 0, None
        self.timer, self.flush_timer, self.total_optimized, self.completed = None, None, 0, []
        self.shard = None
        self.refresh()

    def refresh(self) -> None:
        """Derives what the hot paths need from the configuration."""
        self.dense = cfg.dense_map(self.config)
        self.sparse = self.config["params"].get("sparse_vectors", {})
        self.strict = self.config.get("strict_mode_config") or {}
        if not self.strict.get("enabled"):
            self.strict = {}
        self.reads = Limiter.of(self.strict.get("read_rate_limit"), "Read")
        self.writes = Limiter.of(self.strict.get("write_rate_limit"), "Write")
        self.point_bytes = sum(v["size"] * 4 for v in self.dense.values())

    def create(self) -> None:
        os.makedirs(self.path)
        self.shard = q.EdgeShard.create(self.shard_path, cfg.engine_config(self.config))
        self.shard.update(q.UpdateOperation.delete_points([]))   # the engine counts from 0, Qdrant from 1
        self.save()

    def open(self, meta: dict) -> None:
        self.shard = q.EdgeShard.load(self.shard_path)
        self.schema = meta["schema"]
        versions = [s["segment_version"] or 0 for s in self.shard.snapshot_manifest().values()]
        self.op_num = max([meta["op_num"], *versions])
        info = self.shard.info()
        self.settle(self.point_bytes * max(0, info.points_count - info.indexed_vectors_count))

    def save(self) -> None:
        meta = {"name": self.name, "config": self.config, "schema": self.schema, "op_num": self.op_num}
        write_json(os.path.join(self.path, META), meta)

    # -- writes ------------------------------------------------------------------------------------------

    def apply(self, operation, touched: int = 0) -> int:
        """Applies one operation; returns its number. `touched`: bytes of vectors it wrote."""
        self.op_num += 1
        self.dirty = True
        self.shard.update(operation)
        self.settle(touched)
        return self.op_num

    def settle(self, touched: int = 0) -> None:
        """(Re)arms the timers that optimise and flush."""
        loop, now = self.store.loop, time.monotonic()
        self.unindexed_bytes += touched
        if loop is None:
            return
        if self.flush_timer is None:
            wait = max(1, self.config["optimizer_config"]["flush_interval_sec"])
            self.flush_timer = loop.call_later(wait, self.flush)
        if self.first_write is None:
            self.first_write = now
        if self.timer is not None:
            if now - self.first_write > LATEST:
                return
            self.timer.cancel()
        self.timer = loop.call_later(SETTLE, self.optimize)

    def optimize(self) -> None:
        """Blocks until the shard's segments are as the configuration wants them."""
        self.cancel("timer")
        self.first_write = None
        start = time.time()
        try:
            changed = self.shard.optimize()
        except Exception as exc:
            print(f"edge: optimize of {self.name} failed: {exc}", file=sys.stderr, flush=True)
            return
        self.unindexed_bytes = 0
        if changed:
            points = self.shard.info().points_count
            self.total_optimized += points
            self.completed = ([(start, time.time(), points)] + self.completed)[:16]

    def pending(self) -> bool:
        """True while enough unindexed data waits for optimize(): status yellow."""
        threshold = self.config["optimizer_config"]["indexing_threshold"]
        return self.timer is not None and threshold > 0 and self.unindexed_bytes > threshold * 1024

    def flush(self) -> None:
        self.cancel("flush_timer")
        if self.dirty:
            self.shard.flush()
            self.dirty = False
            self.save()

    def cancel(self, timer: str) -> None:
        if getattr(self, timer) is not None:
            getattr(self, timer).cancel()
            setattr(self, timer, None)

    # -- configuration -----------------------------------------------------------------------------------

    def reconfigure(self, config: dict, rebuild: bool) -> None:
        """Takes a new configuration; with `rebuild` the shard is reopened and optimised soon after."""
        if rebuild:
            self.reopen(config)
        self.config = config
        self.refresh()
        self.save()
        if rebuild:
            self.settle(self.point_bytes * self.shard.info().points_count)

    def reopen(self, config: dict) -> None:
        """load(path, EdgeConfig) takes an absent setting as `keep`, which never lets go of a quantization. So
        the engine writes the new configuration for a scratch shard, and that file replaces this shard's."""
        scratch = self.path + ".scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        q.EdgeShard.create(scratch, cfg.engine_config(config)).close()
        self.shard.flush()
        self.shard.close()
        os.replace(
            os.path.join(scratch, "edge_config.json"), os.path.join(self.shard_path, "edge_config.json")
        )
        shutil.rmtree(scratch)
        self.shard = q.EdgeShard.load(self.shard_path)

    def close(self) -> None:
        self.cancel("timer")
        self.cancel("flush_timer")
        self.shard.flush()
        self.shard.close()
        self.save()


class Store:
    def __init__(self, data: str):
        self.root = os.path.join(data, "collections")
        self.alias_path = os.path.join(data, "aliases.json")
        self.snapshot_root = os.path.join(data, "snapshots")
        self.collections, self.aliases = {}, {}
        self.started, self.uuid, self.loop = time.time(), str(uuid.uuid4()), None
        os.makedirs(self.root, exist_ok=True)
        self.lock = open(os.path.join(data, "lock"), "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)      # BlockingIOError: another server has it
        self.identity(data)

    def identity(self, data: str) -> None:
        """The peer id outlives restarts, as Qdrant's does."""
        path = os.path.join(data, "peer.json")
        if not os.path.exists(path):
            write_json(path, {"peer_id": uuid.uuid4().int & (2**53 - 1)})
        with open(path, "rb") as file:
            self.peer_id = orjson.loads(file.read())["peer_id"]

    def start(self) -> None:
        """Opens every shard; needs the running loop for the timers."""
        self.loop = asyncio.get_running_loop()
        for entry in sorted(os.listdir(self.root)):
            path = os.path.join(self.root, entry)
            if not os.path.exists(os.path.join(path, META)):
                shutil.rmtree(path, ignore_errors=True)
                continue
            with open(os.path.join(path, META), "rb") as file:
                meta = orjson.loads(file.read())
            collection = Collection(self, path, meta["name"], meta["config"])
            collection.open(meta)
            self.collections[meta["name"]] = collection
        if os.path.exists(self.alias_path):
            with open(self.alias_path, "rb") as file:
                self.aliases = orjson.loads(file.read())

    def close(self) -> None:
        for collection in self.collections.values():
            collection.close()
        self.collections = {}

    def get(self, name: str) -> Collection:
        """By name or alias; 404 if neither."""
        collection = self.collections.get(name) or self.collections.get(self.aliases.get(name))
        if collection is None:
            raise no_collection(name)
        return collection

    def create(self, name: str, doc: dict) -> bool:
        check_name(name)
        config = cfg.create(doc)
        if name in self.collections:
            raise ApiError(409, f"Wrong input: Collection `{name}` already exists!")
        if name in self.aliases:
            raise wrong_input(
                f"Can't create collection with name {name}. Alias with the same name already exists"
            )
        collection = Collection(self, os.path.join(self.root, uuid.uuid4().hex), name, config)
        collection.create()
        self.collections[name] = collection
        return True

    def delete(self, name: str) -> bool:
        collection = self.collections.pop(name, None)
        if collection is None:
            return False
        collection.cancel("timer")
        collection.cancel("flush_timer")
        collection.shard.close()
        os.remove(os.path.join(collection.path, META))
        shutil.rmtree(collection.path, ignore_errors=True)
        shutil.rmtree(os.path.join(self.snapshot_root, os.path.basename(collection.path)), ignore_errors=True)
        kept = {a: c for a, c in self.aliases.items() if c != name}
        if kept != self.aliases:
            self.aliases = kept
            write_json(self.alias_path, kept)
        return True

    def change_aliases(self, actions: list) -> bool:
        """All or nothing: the map is replaced only when every action was good."""
        aliases = dict(self.aliases)
        for action in actions:
            kind, args = next(iter(action.items()))
            ALIAS_ACTIONS[kind](self, aliases, args)
        if aliases != self.aliases:
            write_json(self.alias_path, aliases)
            self.aliases = aliases
        return True


def create_alias(store: Store, aliases: dict, args: dict) -> None:
    name, alias = args["collection_name"], args["alias_name"]
    if name not in store.collections:
        raise no_collection(name)
    if alias in store.collections:
        raise ApiError(409, f"Wrong input: Collection `{alias}` already exists!")
    check_name(alias)
    aliases[alias] = name


def delete_alias(store: Store, aliases: dict, args: dict) -> None:
    aliases.pop(args["alias_name"], None)


def rename_alias(store: Store, aliases: dict, args: dict) -> None:
    old, new = args["old_alias_name"], args["new_alias_name"]
    if old not in aliases:
        raise ApiError(404, f"Not found: Alias {old} does not exists!")
    if new in store.collections:
        raise ApiError(409, f"Wrong input: Collection `{new}` already exists!")
    aliases[new] = aliases.pop(old)


ALIAS_ACTIONS = {"create_alias": create_alias, "delete_alias": delete_alias, "rename_alias": rename_alias}
ALIAS_FIELDS = {"create_alias": ("collection_name", "alias_name"), "delete_alias": ("alias_name",),
                "rename_alias": ("old_alias_name", "new_alias_name")}


def check_name(name: str) -> None:
    bad = next((c for c in name if c in FORBIDDEN), None)
    if bad is not None:
        raise bad_request(f"Collection name cannot contain \"{bad}\" char")
    if not 1 <= len(name) <= 255:
        raise ApiError(422, f"Validation error in path parameters: [name: value {name} invalid, "
                            f"must be from 1 to 255 characters]", instant=True)
