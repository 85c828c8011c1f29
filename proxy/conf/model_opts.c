#include "conf/tables.h"

static const char *const index_types[] = {
    [INDEX_UNSET] = "unset", [INDEX_HNSW] = "HNSW", [INDEX_FLAT] = "flat", NULL,
};
static const char *const maybe[] = {
    [MAYBE_UNSET] = "unset", [MAYBE_FALSE] = "false", [MAYBE_TRUE] = "true", NULL,
};
const char *const conf_words_quantization[] = {
    [QUANTIZATION_UNSET] = "unset", [QUANTIZATION_NONE] = "none", [QUANTIZATION_SCALAR] = "scalar",
    [QUANTIZATION_PRODUCT] = "product", [QUANTIZATION_BINARY] = "binary", [QUANTIZATION_TURBO] = "turbo",
    NULL,
};
const char *const conf_words_compression[] = {
    [COMPRESSION_UNSET] = "unset", [COMPRESSION_X4] = "x4", [COMPRESSION_X8] = "x8",
    [COMPRESSION_X16] = "x16", [COMPRESSION_X32] = "x32", [COMPRESSION_X64] = "x64", NULL,
};
const char *const conf_words_encoding[] = {
    [ENCODING_UNSET] = "unset", [ENCODING_ONE_BIT] = "one_bit", [ENCODING_TWO_BITS] = "two_bits",
    [ENCODING_ONE_AND_HALF_BITS] = "one_and_half_bits", NULL,
};
const char *const conf_words_query_encoding[] = {
    [QUERY_UNSET] = "unset", [QUERY_DEFAULT] = "default", [QUERY_BINARY] = "binary",
    [QUERY_SCALAR4BITS] = "scalar4bits", [QUERY_SCALAR8BITS] = "scalar8bits", NULL,
};
const char *const conf_words_turbo_bits[] = {
    [TURBO_UNSET] = "unset", [TURBO_BITS1] = "bits1", [TURBO_BITS1_5] = "bits1_5", [TURBO_BITS2] = "bits2",
    [TURBO_BITS4] = "bits4", NULL,
};
const char *const conf_words_enforce[] = {
    [ENFORCE_OFF] = "off", [ENFORCE_OBSERVE] = "observe", [ENFORCE_ENFORCE] = "enforce", NULL,
};

#define M struct conf_model_base
#define O CONF_OPTIMIZATIONS
#define I CONF_INDEXING
#define T CONF_TUNING

static const struct opt options[] = {
    OPT_TEXTS(
        M, collections, "collections", O, NULL,
        "the collections of this model: a name or a list; * and ? match; default: the model's own name"),
    OPT_TEXT(M, upstream, "upstream", O, "default", "the group of upstreams that serves it"),
    OPT_UINT_UNSET(M, vector_size, "vector_size", O, "1", "65536", "dimension of its vectors"),

    OPT_TEXT(M, vector, "vector", O, NULL,
             "the named vector that the settings of the index are for, and that searches of the control port ask unless they name another; default: all of the collection"),
    OPT_ENUM_UNSET(M, index_type, "index_type", I, index_types,
                   "HNSW, or flat for exact scans without a graph; unset leaves it as it is"),
    OPT_UINT(M, index_m, "index_params.m", I, NULL, "0", "1000", "links per point in the graph"),
    OPT_UINT(M, index_ef_construct, "index_params.ef_construct", I, NULL, "4", "100000",
             "candidates looked at while building"),
    OPT_UINT(M, index_threads, "index_params.max_indexing_threads", I, NULL, "0", "1024",
             "threads that build one graph; 0: by cores"),
    OPT_UINT(M, full_scan_threshold, "full_scan_threshold", I, NULL, "10", "1000000000",
             "KB of vectors below which a scan is preferred to the graph"),
    OPT_UINT(M, indexing_threshold, "indexing_threshold", I, NULL, "0", "1000000000",
             "KB of vectors in a segment above which it is indexed"),
    OPT_ENUM_UNSET(M, quantization_type, "quantization.type", I, conf_words_quantization,
                   "unset leaves it as it is, none removes it"),
    OPT_ENUM_UNSET(M, quantization_always_ram, "quantization.always_ram", I, maybe,
                   "keep quantized vectors in memory"),
    OPT_REAL(M, quantization_quantile, "quantization.quantile", I, NULL, "0.5", "1",
             "scalar: part of the values that keep their precision; unset leaves it"),
    OPT_ENUM_UNSET(M, quantization_compression, "quantization.compression", I, conf_words_compression,
                   "product: how much smaller; unset: x16 where it is new"),
    OPT_ENUM_UNSET(M, quantization_encoding, "quantization.encoding", I, conf_words_encoding, "binary: bits a dimension"),
    OPT_ENUM_UNSET(M, quantization_query_encoding, "quantization.query_encoding", I, conf_words_query_encoding,
                   "binary: how the query's vector is kept while it is compared"),
    OPT_ENUM_UNSET(M, quantization_bits, "quantization.bits", I, conf_words_turbo_bits, "turbo: bits a dimension"),
    OPT_ENUM_UNSET(M, on_disk, "on_disk", I, maybe, "keep original vectors on disk"),
    OPT_UINT(M, segment_number, "segment_number", I, NULL, "0", "1000", "segments to aim for; 0: by cores"),
    OPT_UINT(M, max_segment_size, "max_segment_size", I, NULL, "1", "1000000000",
             "KB of vectors above which segments are not merged"),
    OPT_UINT(M, optimizer_threads, "optimizer_threads", I, NULL, "0", "1024",
             "threads that build indexes; 0 stops them"),
    OPT_ENUM_UNSET(M, strict_enabled, "strict_mode.enabled", I, maybe, "refuse requests beyond these limits"),
    OPT_UINT_UNSET(M, strict_max_query_limit, "strict_mode.max_query_limit", I, "1", "4294967295",
                   "the largest limit of a search"),
    OPT_UINT_UNSET(M, strict_max_timeout, "strict_mode.max_timeout", I, "1", "4294967295",
                   "the longest timeout a request may ask for, seconds"),
    OPT_UINT_UNSET(M, strict_max_hnsw_ef, "strict_mode.search_max_hnsw_ef", I, "1", "4294967295",
                   "the largest hnsw_ef"),
    OPT_ENUM_UNSET(M, strict_allow_exact, "strict_mode.search_allow_exact", I, maybe, "exact searches"),
    OPT_REAL(M, strict_max_oversampling, "strict_mode.search_max_oversampling", I, NULL, "1", "1000000",
             "the largest oversampling"),
    OPT_UINT_UNSET(M, strict_search_batch, "strict_mode.search_max_batchsize", I, "1", "4294967295",
                   "searches in a batch"),
    OPT_UINT_UNSET(M, strict_upsert_batch, "strict_mode.upsert_max_batchsize", I, "1", "4294967295",
                   "points in an upsert"),
    OPT_UINT_UNSET(M, strict_filter_conditions, "strict_mode.filter_max_conditions", I, "1", "4294967295",
                   "conditions in a filter"),
    OPT_UINT_UNSET(M, strict_read_rate, "strict_mode.read_rate_limit", I, "1", "4294967295",
                   "reads a minute and replica"),
    OPT_UINT_UNSET(M, strict_write_rate, "strict_mode.write_rate_limit", I, "1", "4294967295",
                   "writes a minute and replica"),
    OPT_UINT_UNSET(M, strict_max_points, "strict_mode.max_points_count", I, "1", "1000000000000",
                   "points in the collection"),
    OPT_ENUM_UNSET(M, strict_unindexed_retrieve, "strict_mode.unindexed_filtering_retrieve", I, maybe,
                   "searches that filter by a field without an index"),
    OPT_ENUM_UNSET(M, strict_unindexed_update, "strict_mode.unindexed_filtering_update", I, maybe,
                   "writes that filter by a field without an index"),
    OPT_UINT_UNSET(M, strict_condition_size, "strict_mode.condition_max_size", I, "1", "4294967295",
                   "values in a condition"),
    OPT_UINT_UNSET(M, strict_vector_bytes, "strict_mode.max_collection_vector_size_bytes", I, "1", "1000000000000000",
                   "bytes of vectors in the collection"),
    OPT_UINT_UNSET(M, strict_payload_bytes, "strict_mode.max_collection_payload_size_bytes", I, "1", "1000000000000000",
                   "bytes of payload in the collection"),
    OPT_UINT_UNSET(M, strict_payload_indexes, "strict_mode.max_payload_index_count", I, "1", "4294967295",
                   "indexes of payload"),
    OPT_UINT_UNSET(M, strict_resident_percent, "strict_mode.max_resident_memory_percent", I, "1", "100",
                   "part of the server's memory beyond which writes are refused; Qdrant 1.18"),

    OPT_ENUM(M, enforce, "enforce", T, "observe", conf_words_enforce,
             "off: Qdrant's settings are not looked at; observe: differences are shown; enforce: they are repaired"),
    OPT_UINT_UNSET(M, batch_size, "batch_size", T, "1", "100000",
                   "points an upsert should carry: advice for whoever loads data, told by GET /api/v1/models; quiver itself cuts no upserts"),
    OPT_BYTES_UNSET(M, memory_limit, "memory_limit", T, "1MB", "1000TB",
                    "memory that the collection may need in Qdrant"),
    OPT_UINT(M, connections, "connections", T, "32", "1", "10000",
             "connections to each upstream server, over all workers"),
    OPT_UINT(M, queue, "queue", T, "1024", "0", "1000000",
             "requests that may wait for a connection, per worker"),
    OPT_USEC_UNSET(M, queue_timeout, "queue_timeout", T, "1ms", "1h",
                   "how long they wait; 0: upstream.queue_timeout"),
    OPT_USEC_UNSET(M, read_timeout, "first_byte_timeout", T, "1ms", "1d", "0: upstream.first_byte_timeout"),
    OPT_USEC_UNSET(M, write_timeout, "write_timeout", T, "1ms", "7d", "0: upstream.write_timeout"),
    OPT_BOOL(M, external_writes, "external_writes", CONF_CACHING, "false",
             "others write to Qdrant past quiver: an answer may then be as old as external_writes_ttl"),
    OPT_USEC_UNSET(M, target_p50, "target.p50", T, "1us", "1h",
                   "what half of the searches should stay below"),
    OPT_UINT_UNSET(M, target_ops, "target.ops", T, "1", "1000000000", "searches per second to reach"),
    OPT_REAL(M, target_hit_rate, "target.hit_rate", T, NULL, "0", "1",
             "part of repeated searches answered from the cache"),
    OPT_REAL(M, target_recall, "target.recall", T, NULL, "0", "1", "recall@10 against an exact search"),
};

const struct opt_table conf_model_table = {
    "quiver", options, sizeof options / sizeof *options, sizeof(struct conf_model_base), NULL,
};

const char *conf_model_env_alias(const char *key)
{
    return strcmp(key, "indexing_threshold") == 0 ? "INDEX_THRESHOLD" : NULL;
}
