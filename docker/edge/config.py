"""A collection's configuration: REST JSON in and out, merge rules of PATCH, and the engine's EdgeConfig.

The REST form is the one kept (exactly what GET shows under `config`); the engine's is made from it.
Ranges are in one table, LIMITS, used for create and patch alike.
"""

import copy

import qdrant_edge as q

from errors import FormatError, invalid, missing, need_map, wrong_input, wrong_type

DISTANCES = {"Cosine": q.Distance.Cosine, "Euclid": q.Distance.Euclid, "Dot": q.Distance.Dot,
             "Manhattan": q.Distance.Manhattan}
DATATYPES = {"float32": q.VectorStorageDatatype.Float32, "float16": q.VectorStorageDatatype.Float16,
             "uint8": q.VectorStorageDatatype.Uint8}
COMPRESSION = {"x4": q.CompressionRatio.X4, "x8": q.CompressionRatio.X8, "x16": q.CompressionRatio.X16,
               "x32": q.CompressionRatio.X32, "x64": q.CompressionRatio.X64}
BINARY_ENCODING = {
    "one_bit": q.BinaryQuantizationEncoding.OneBit,
    "two_bits": q.BinaryQuantizationEncoding.TwoBits,
    "one_and_half_bits": q.BinaryQuantizationEncoding.OneAndHalfBits,
}
BINARY_QUERY = {"default": q.BinaryQuantizationQueryEncoding.Default,
                "binary": q.BinaryQuantizationQueryEncoding.Binary,
                "scalar4bits": q.BinaryQuantizationQueryEncoding.Scalar4Bits,
                "scalar8bits": q.BinaryQuantizationQueryEncoding.Scalar8Bits}
TURBO_BITS = {"bits1": q.TurboQuantBitSize.Bits1, "bits1_5": q.TurboQuantBitSize.Bits1_5,
              "bits2": q.TurboQuantBitSize.Bits2, "bits4": q.TurboQuantBitSize.Bits4}
QUANTIZERS = ("scalar", "product", "binary", "turbo")

HNSW = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
OPTIMIZER = {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000, "default_segment_number": 0,
             "max_segment_size": None, "memmap_threshold": None, "indexing_threshold": 10000,
             "flush_interval_sec": 5, "max_optimization_threads": None, "prevent_unoptimized": None}
WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
PARAMS = {"shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1, "on_disk_payload": True}

# section, key -> kind ("uint", "float", "bool"), least, most (None = open)
LIMITS = {
    ("hnsw_config", "m"): ("uint", 0, None),
    ("hnsw_config", "ef_construct"): ("uint", 4, None),
    ("hnsw_config", "full_scan_threshold"): ("uint", 10, None),
    ("hnsw_config", "max_indexing_threads"): ("uint", 0, None),
    ("hnsw_config", "on_disk"): ("bool", None, None),
    ("hnsw_config", "payload_m"): ("uint", 0, None),
    ("hnsw_config", "inline_storage"): ("bool", None, None),
    ("optimizers_config", "deleted_threshold"): ("float", 0.0, 1.0),
    ("optimizers_config", "vacuum_min_vector_number"): ("uint", 100, None),
    ("optimizers_config", "default_segment_number"): ("uint", 0, None),
    ("optimizers_config", "max_segment_size"): ("uint", 1, None),
    ("optimizers_config", "memmap_threshold"): ("uint", 0, None),
    ("optimizers_config", "indexing_threshold"): ("uint", 0, None),
    ("optimizers_config", "flush_interval_sec"): ("uint", 0, None),
    ("optimizers_config", "max_optimization_threads"): ("threads", 0, None),
    ("optimizers_config", "prevent_unoptimized"): ("bool", None, None),
    ("wal_config", "wal_capacity_mb"): ("uint", 1, None),
    ("wal_config", "wal_segments_ahead"): ("uint", 0, None),
    ("wal_config", "wal_retain_closed"): ("uint", 1, None),
    ("params", "replication_factor"): ("uint", 1, None),
    ("params", "write_consistency_factor"): ("uint", 1, None),
    ("params", "read_fan_out_factor"): ("uint", 0, None),
    ("params", "read_fan_out_delay_ms"): ("uint", 0, None),
    ("params", "on_disk_payload"): ("bool", None, None),
    ("strict_mode_config", "enabled"): ("bool", None, None),
    ("strict_mode_config", "max_query_limit"): ("uint", 1, None),
    ("strict_mode_config", "max_timeout"): ("uint", 1, None),
    ("strict_mode_config", "unindexed_filtering_retrieve"): ("bool", None, None),
    ("strict_mode_config", "unindexed_filtering_update"): ("bool", None, None),
    ("strict_mode_config", "search_max_hnsw_ef"): ("uint", 0, None),
    ("strict_mode_config", "search_allow_exact"): ("bool", None, None),
    ("strict_mode_config", "search_max_oversampling"): ("float", None, None),
    ("strict_mode_config", "upsert_max_batchsize"): ("uint", 0, None),
    ("strict_mode_config", "search_max_batchsize"): ("uint", 0, None),
    ("strict_mode_config", "max_collection_vector_size_bytes"): ("uint", 0, None),
    ("strict_mode_config", "max_collection_payload_size_bytes"): ("uint", 0, None),
    ("strict_mode_config", "read_rate_limit"): ("uint", 1, None),
    ("strict_mode_config", "write_rate_limit"): ("uint", 1, None),
    ("strict_mode_config", "max_points_count"): ("uint", 1, None),
    ("strict_mode_config", "filter_max_conditions"): ("uint", 0, None),
    ("strict_mode_config", "condition_max_size"): ("uint", 0, None),
    ("strict_mode_config", "multivector_config"): ("object", None, None),
    ("strict_mode_config", "sparse_config"): ("object", None, None),
    ("strict_mode_config", "max_payload_index_count"): ("uint", 0, None),
    ("strict_mode_config", "max_resident_memory_percent"): ("uint", 1, 100),
    ("strict_mode_config", "max_disk_usage_percent"): ("uint", 1, 100),
}
TOP_PARAMS = ("replication_factor", "write_consistency_factor", "on_disk_payload")


def check(field: str, value, kind: str, least, most):
    """Type (400) and range (422) of one value."""
    if kind == "threads" and value == "auto":
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "bool" and not isinstance(value, bool):
        raise wrong_type(value, "a boolean")
    if kind in ("uint", "threads") and (not number or isinstance(value, float) or value < 0):
        raise wrong_type(value, "usize")
    if kind == "float" and not number:
        raise wrong_type(value, "f64")
    if kind == "object" and not isinstance(value, dict):
        raise wrong_type(value, "a map")
    if most is not None and not least <= value <= most:
        raise invalid(field, value, f"from {least} to {most}")
    if least is not None and value < least:
        raise invalid(field, value, f"{least} or larger")
    return float(value) if kind == "float" else value


def section(doc: dict, name: str, *aliases: str, at: str = "") -> dict:
    """The checked keys of one section that are present and not null; unknown ones are ignored."""
    given = [k for k in (name, *aliases) if doc.get(k) is not None]
    if len(given) > 1:
        raise FormatError(f"duplicate field `{name}`")
    part = doc[given[0]] if given else {}
    if not isinstance(part, dict):
        raise wrong_type(part, f"struct {name}")
    out = {}
    for key, value in part.items():
        limit = LIMITS.get((name, key))
        if limit and value is not None:
            out[key] = check(f"{at}{name}.{key}", value, *limit)
    return out


def quantization(doc: dict):
    """Returns absent (None), "Disabled", or the checked object."""
    value = doc.get("quantization_config", doc.get("quantization"))
    if value is None or value == "Disabled":
        return value
    kinds = [k for k in QUANTIZERS if isinstance(value, dict) and k in value]
    if len(kinds) != 1 or not isinstance(value[kinds[0]], dict):
        raise FormatError("data did not match any variant of untagged enum QuantizationConfig")
    engine_quantization(value)
    part = value[kinds[0]]
    if kinds[0] == "scalar" and part.get("quantile") is not None:
        check("quantization_config.scalar.quantile", part["quantile"], "float", 0.5, 1.0)
    return {kinds[0]: {k: v for k, v in part.items() if v is not None}}


def one_of(table: dict, value, expected: str):
    if value not in table:
        names = ", ".join(f"`{n}`" for n in table)
        raise FormatError(f"unknown variant `{value}`, expected one of {names}" if value is not None
                          else f"missing field `{expected}`")
    return table[value]


def vector_params(name: str, doc) -> dict:
    """The REST form of one dense vector, checked."""
    at = f"vectors.{name}." if name else "vectors."
    if not isinstance(doc, dict):
        raise wrong_type(doc, "struct VectorParams")
    for key in ("size", "distance"):
        if doc.get(key) is None:
            raise missing(key)
    out = {"size": check(at + "size", doc["size"], "uint", 1, 65536), "distance": doc["distance"]}
    one_of(DISTANCES, doc["distance"], "distance")
    if hnsw := section(doc, "hnsw_config", at=at):
        out["hnsw_config"] = hnsw
    if (quant := quantization(doc)) not in (None, "Disabled"):
        out["quantization_config"] = quant
    for key in ("on_disk", "datatype", "multivector_config"):
        if doc.get(key) is not None:
            out[key] = doc[key]
    if "datatype" in out:
        one_of(DATATYPES, out["datatype"], "datatype")
    return out


def is_single(vectors: dict) -> bool:
    return "size" in vectors and not isinstance(vectors["size"], dict)


def create(doc: dict) -> dict:
    """Body of PUT /collections/{c} -> REST config. Raises for what Qdrant refuses."""
    params = {}
    vectors = doc.get("vectors")
    if vectors is not None and not isinstance(vectors, dict):
        raise wrong_type(vectors, "VectorsConfig")
    if vectors:
        params["vectors"] = (vector_params("", vectors) if is_single(vectors) else
                             {name: vector_params(name, v) for name, v in vectors.items()})
    params.update(PARAMS)
    for key in TOP_PARAMS:
        if doc.get(key) is not None:
            params[key] = check(key, doc[key], *LIMITS["params", key])
    if doc.get("shard_number") is not None:
        params["shard_number"] = check("shard_number", doc["shard_number"], "uint", 1, None)
    if doc.get("sharding_method") not in (None, "auto"):
        raise wrong_input("custom sharding needs a Qdrant server, the embedded engine has one shard")
    if doc.get("sparse_vectors"):
        sparse = need_map(doc["sparse_vectors"], "a map of vectors")
        params["sparse_vectors"] = {n: sparse_params(v) for n, v in sparse.items()}
    if not params.get("vectors") and not params.get("sparse_vectors"):
        params["vectors"] = {}
    config = {"params": params, "hnsw_config": HNSW | section(doc, "hnsw_config"),
              "optimizer_config": OPTIMIZER | section(doc, "optimizers_config", "optimizer_config"),
              "wal_config": WAL | section(doc, "wal_config"), "quantization_config": None}
    quant = quantization(doc)
    config["quantization_config"] = None if quant == "Disabled" else quant
    if doc.get("strict_mode_config") is not None:
        config["strict_mode_config"] = section(doc, "strict_mode_config")
    if doc.get("metadata") is not None:
        config["metadata"] = merge_metadata({}, doc["metadata"])
    return config


def sparse_params(doc) -> dict:
    if doc is None:
        return {}
    if not isinstance(doc, dict):
        raise wrong_type(doc, "struct SparseVectorParams")
    out = {k: doc[k] for k in ("index", "modifier") if doc.get(k) is not None}
    if out.get("modifier") not in (None, "idf", "none"):
        raise FormatError(f"unknown variant `{out['modifier']}`, expected `none` or `idf`")
    return out


def merge_metadata(old: dict, new) -> dict:
    if not isinstance(new, dict):
        raise wrong_type(new, "a map")
    merged = old | new
    return {k: v for k, v in merged.items() if v is not None}


def patch(config: dict, doc: dict) -> tuple[dict, bool]:
    """Body of PATCH -> (new REST config, whether the engine must rebuild). Absent and null mean unchanged."""
    new = copy.deepcopy(config)
    new["hnsw_config"] |= section(doc, "hnsw_config")
    new["optimizer_config"] |= section(doc, "optimizers_config", "optimizer_config")
    new["params"] |= section(doc, "params")
    quant = quantization(doc)
    if quant is not None:
        new["quantization_config"] = None if quant == "Disabled" else quant
    for name, change in need_map(doc.get("vectors") or {}, "a map of vectors").items():
        patch_vector(dense_map(new), name, change)
    for name, change in need_map(doc.get("sparse_vectors") or {}, "a map of vectors").items():
        sparse = new["params"].get("sparse_vectors", {})
        if name not in sparse:
            raise wrong_input(f"Not existing vector name error: {name}")
        sparse[name] |= sparse_params(change)
    rebuild = new != config
    if doc.get("strict_mode_config") is not None:
        new["strict_mode_config"] = new.get("strict_mode_config", {}) | section(doc, "strict_mode_config")
    if doc.get("metadata") is not None:
        new["metadata"] = merge_metadata(new.get("metadata", {}), doc["metadata"])
    return new, rebuild


def patch_vector(dense: dict, name: str, change) -> None:
    if name not in dense:
        raise wrong_input(f"Not existing vector name error: {name}")
    if not isinstance(change, dict):
        raise wrong_type(change, "struct VectorParamsDiff")
    vector = dense[name]
    if hnsw := section(change, "hnsw_config", at=f"vectors.{name}."):
        vector["hnsw_config"] = vector.get("hnsw_config", {}) | hnsw
    quant = quantization(change)
    if quant == "Disabled":
        vector.pop("quantization_config", None)
    elif quant is not None:
        vector["quantization_config"] = quant
    if change.get("on_disk") is not None:
        vector["on_disk"] = check(f"vectors.{name}.on_disk", change["on_disk"], "bool", None, None)


def dense_map(config: dict) -> dict:
    """name -> REST vector params; the unnamed vector is ""."""
    vectors = config["params"].get("vectors") or {}
    return {"": vectors} if is_single(vectors) else vectors


# ---- the engine's side ----

def engine_hnsw(base: dict, override: dict | None = None):
    merged = base | (override or {})
    return q.HnswIndexConfig(
        merged["m"],
        merged["ef_construct"],
        merged["full_scan_threshold"],
        max_indexing_threads=merged["max_indexing_threads"],
        on_disk=merged.get("on_disk"),
        payload_m=merged.get("payload_m"),
        inline_storage=merged.get("inline_storage"),
    )


def engine_quantization(doc: dict | None):
    if doc is None:
        return None
    kind, part = next(iter(doc.items()))
    ram = part.get("always_ram")
    if kind == "scalar":
        if part.get("type") != "int8":
            raise FormatError(f"unknown variant `{part.get('type')}`, expected `int8`")
        return q.ScalarQuantizationConfig(q.ScalarType.Int8, quantile=part.get("quantile"), always_ram=ram)
    if kind == "product":
        return q.ProductQuantizationConfig(
            one_of(COMPRESSION, part.get("compression"), "compression"), always_ram=ram
        )
    if kind == "binary":
        return q.BinaryQuantizationConfig(
            always_ram=ram, encoding=one_of(BINARY_ENCODING, part.get("encoding") or "one_bit", "encoding"),
            query_encoding=one_of(BINARY_QUERY, part.get("query_encoding") or "default", "query_encoding"))
    return q.TurboQuantQuantizationConfig(
        always_ram=ram, bits=one_of(TURBO_BITS, part.get("bits") or "bits4", "bits")
    )


def engine_vector(config: dict, vector: dict):
    own = vector.get("hnsw_config")
    multi = vector.get("multivector_config")
    return q.EdgeVectorParams(
        size=vector["size"], distance=DISTANCES[vector["distance"]], on_disk=vector.get("on_disk"),
        multivector_config=q.MultiVectorConfig(q.MultiVectorComparator.MaxSim) if multi else None,
        datatype=DATATYPES.get(vector.get("datatype")),
        quantization_config=engine_quantization(vector.get("quantization_config")),
        hnsw_config=engine_hnsw(config["hnsw_config"], own) if own else None)


def engine_sparse(sparse: dict):
    index = sparse.get("index") or {}
    return q.EdgeSparseVectorParams(
        full_scan_threshold=index.get("full_scan_threshold"), on_disk=index.get("on_disk"),
        modifier=q.Modifier.Idf if sparse.get("modifier") == "idf" else None,
        datatype=DATATYPES.get(index.get("datatype")))


def engine_config(config: dict):
    """REST config -> EdgeConfig, complete: nothing in it is left to what the shard had before."""
    optimizer = config["optimizer_config"]
    return q.EdgeConfig(
        vectors={name: engine_vector(config, v) for name, v in dense_map(config).items()},
        sparse_vectors={n: engine_sparse(v) for n, v in config["params"].get("sparse_vectors", {}).items()},
        on_disk_payload=config["params"]["on_disk_payload"],
        hnsw_config=engine_hnsw(config["hnsw_config"]),
        quantization_config=engine_quantization(config["quantization_config"]),
        max_search_threads=1,  # handing two segments to a pool costs more than searching them in turn
        optimizers=q.EdgeOptimizersConfig(
            deleted_threshold=optimizer["deleted_threshold"],
            vacuum_min_vector_number=optimizer["vacuum_min_vector_number"],
            default_segment_number=optimizer["default_segment_number"] or None,
            max_segment_size=optimizer["max_segment_size"],
            indexing_threshold=optimizer["indexing_threshold"],
            prevent_unoptimized=optimizer["prevent_unoptimized"],
        ),
    )
