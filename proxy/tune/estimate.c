/* estimate.c - constants measured on Qdrant 1.18.3's own reports (see the unit test, which compares with
 * recorded ones). */
#include "tune/estimate.h"

#include <string.h>

#include "tune/doc.h"

#define CHUNK (UINT64_C(32) << 20)           /* a file of vectors */
#define CHUNK_FIXED (UINT64_C(1) << 20)      /* beside them, per segment */
#define SEGMENT_MAX (UINT64_C(256000) << 10) /* Qdrant's own limit where none is set: 256000 KB a thread */
enum {
    ID_BYTES_X10 = 364,
    ID_BYTES_OPEN_X10 = 690, /* a point in the id tracker: of an indexed segment, of one that is written to */
    LINK_FILL_PERCENT = 75,  /* of the links that m allows; pruning leaves the others out */
    M_DEFAULT = 16,
};

static uint64_t mul(uint64_t a, uint64_t b)
{
    uint64_t out;
    return __builtin_mul_overflow(a, b, &out) ? UINT64_MAX : out;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t out;
    return __builtin_add_overflow(a, b, &out) ? UINT64_MAX : out;
}

/* a * b / c without a detour over 2^64; c > 0. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
    unsigned __int128 wide = (unsigned __int128)a * b / c;
    return wide > UINT64_MAX ? UINT64_MAX : (uint64_t)wide;
}

static const struct {
    const char *word;
    unsigned bits; /* a dimension */
} datatypes[] = {{"float32", 32}, {"float16", 16}, {"uint8", 8}, {"turbo4", 4}};

static unsigned bits_of(const cJSON *datatype)
{
    for (unsigned i = 0; doc_text(datatype) && i < sizeof datatypes / sizeof *datatypes; i++)
        if (strcmp(doc_text(datatype), datatypes[i].word) == 0)
            return datatypes[i].bits;
    return 32;
}

/* What a quantized dimension takes, in hundredths of a bit, and what comes to each vector, in bytes. */
static const struct {
    const char *kind, *key, *value; /* NULL: whatever it is */
    unsigned centibits, extra;
} quantizations[] = {
    {"scalar", NULL, NULL, 800, 4},
    {"product", "compression", "x4", 800, 0},
    {"product", "compression", "x8", 400, 0},
    {"product", "compression", "x16", 200, 0},
    {"product", "compression", "x32", 100, 0},
    {"product", "compression", "x64", 50, 0},
    {"binary", "encoding", "two_bits", 200, 0},
    {"binary", "encoding", "one_and_half_bits", 150, 0},
    {"binary", NULL, NULL, 100, 0},
    {"turbo", "bits", "bits1", 100, 4},
    {"turbo", "bits", "bits1_5", 150, 4},
    {"turbo", "bits", "bits2", 200, 4},
    {"turbo", NULL, NULL, 400, 4},
};

static bool placed_in_ram(const cJSON *quantizer)
{
    const char *memory = doc_text(doc_get(quantizer, "memory"));
    return memory ? strcmp(memory, "pinned") == 0 : cJSON_IsTrue(doc_get(quantizer, "always_ram"));
}

static bool is_cold(const cJSON *placement)
{
    const char *memory = doc_text(doc_get(placement, "memory"));
    return memory ? strcmp(memory, "cold") == 0 : cJSON_IsTrue(doc_get(placement, "on_disk"));
}

struct sums { /* of which points, in which state */
    uint64_t points, indexed, segments;
};

static void add_quantized(const cJSON *config, uint64_t dim, const struct sums *n, struct estimate *e)
{
    for (unsigned i = 0; i < sizeof quantizations / sizeof *quantizations; i++) {
        const cJSON *quantizer = doc_get(config, quantizations[i].kind);
        const char *value = quantizations[i].key ? doc_text(doc_get(quantizer, quantizations[i].key)) : NULL;
        if (!cJSON_IsObject(quantizer) ||
            (quantizations[i].key && (!value || strcmp(value, quantizations[i].value) != 0)))
            continue;
        uint64_t each = add(scale(dim, quantizations[i].centibits, 800), quantizations[i].extra);
        uint64_t all = mul(n->indexed, each); /* segments that are written to are not quantized */
        e->quantized = add(e->quantized, all);
        if (placed_in_ram(quantizer))
            e->needed = add(e->needed, all);
        return;
    }
}

static uint64_t chunks_of(uint64_t bytes)
{
    return bytes / CHUNK + (bytes % CHUNK != 0);
}

static unsigned bits_for(uint64_t n)
{
    return n > 1 ? 64 - (unsigned)__builtin_clzll(n - 1) : 1;
}

/* Links are packed: as many bits each as the greatest number of a point needs. */
static uint64_t links_of(uint64_t n, uint64_t m)
{
    uint64_t links = m < 2 ? m * 2 : 2 * m + m / (m - 1);
    return scale(scale(n, links * bits_for(n), 8), LINK_FILL_PERCENT, 100);
}

/* Its own hnsw_config and quantization_config win over the collection's. */
static bool add_vector(const cJSON *config, const cJSON *vector, const struct sums *n, struct estimate *e)
{
    uint64_t dim, m = M_DEFAULT;
    const cJSON *own = doc_get(vector, "hnsw_config"), *quantization = doc_get(vector, "quantization_config");
    if (!doc_u64(doc_get(vector, "size"), &dim))
        return false;
    if (!doc_u64(doc_get(own, "m"), &m))
        doc_u64(doc_at(config, "hnsw_config.m"), &m);
    e->without_multi |= doc_is_set(doc_get(vector, "multivector_config"));
    uint64_t each = scale(dim, bits_of(doc_get(vector, "datatype")), 8);
    uint64_t open = n->points - n->indexed, chunks = chunks_of(mul(n->indexed, each));
    if (open) { /* spread over the segments that are written to */
        uint64_t more = chunks_of(mul(open, each));
        chunks = add(chunks, more > n->segments || n->indexed ? more : n->segments);
    }
    uint64_t bytes = add(mul(chunks, CHUNK), mul(n->segments, CHUNK_FIXED));
    e->vectors = add(e->vectors, is_cold(vector) ? 0 : bytes);
    const cJSON *graph = doc_is_set(doc_get(own, "on_disk")) ? own : doc_get(config, "hnsw_config");
    e->index = add(e->index, is_cold(graph) ? 0 : links_of(n->indexed, m));
    add_quantized(doc_is_set(quantization) ? quantization : doc_get(config, "quantization_config"), dim, n,
                  e);
    uint64_t segment = SEGMENT_MAX >> 10;
    doc_u64(doc_at(config, "optimizer_config.max_segment_size"), &segment);
    uint64_t whole = mul(n->points, each);
    e->building = add(e->building, whole < mul(segment, 1024) ? whole : mul(segment, 1024));
    return true;
}

bool estimate_collection(const cJSON *info, uint64_t points, uint64_t payload, struct estimate *e)
{
    const cJSON *config = doc_get(info, "config"), *vectors = doc_at(config, "params.vectors"), *one;
    struct sums n = {.segments = 2};
    uint64_t there;
    bool any = false;
    *e = (struct estimate){0};
    if (!doc_u64(doc_get(info, "points_count"), &there))
        return false;
    doc_u64(doc_get(info, "segments_count"), &n.segments);
    doc_u64(doc_get(info, "indexed_vectors_count"), &n.indexed);
    n.points = points ? points : there;
    if (points || n.indexed > n.points)
        n.indexed = n.points;
    e->points = n.points;
    if (doc_is_set(doc_get(vectors, "size"))) {
        any = add_vector(config, vectors, &n, e);
    } else {
        cJSON_ArrayForEach(one, vectors)
            any = add_vector(config, one, &n, e) || any;
    }
    e->without_sparse = cJSON_GetArraySize(doc_at(config, "params.sparse_vectors")) > 0;
    e->ids = add(scale(n.indexed, ID_BYTES_X10, 10), scale(n.points - n.indexed, ID_BYTES_OPEN_X10, 10));
    e->needed = add(e->needed, e->ids);
    if (!cJSON_IsTrue(doc_at(config, "params.on_disk_payload"))) {
        e->payload = scale(mul(n.points, payload), 3, 2); /* keys, allocation */
        e->needed = add(e->needed, e->payload);
    }
    e->good = add(add(add(e->vectors, e->index), add(e->quantized, e->payload)), e->ids);
    return any || e->without_sparse;
}

#define MANY 1000000 /* so many that files of whole chunks do not matter */

void estimate_point(const cJSON *info, uint64_t *point, uint64_t *vectors)
{
    const cJSON *config = doc_at(info, "config.params.vectors"), *one;
    struct estimate some, more;
    uint64_t there = 0, dim = 0;
    *point = *vectors = 0;
    doc_u64(doc_get(info, "points_count"), &there);
    if (!estimate_collection(info, add(there, MANY), 0, &some) ||
        !estimate_collection(info, add(there, 2 * MANY), 0, &more))
        return;
    *point = (more.good - some.good) / MANY;
    if (doc_u64(doc_get(config, "size"), &dim)) {
        *vectors = scale(dim, bits_of(doc_get(config, "datatype")), 8);
        return;
    }
    cJSON_ArrayForEach(one, config)
        if (doc_u64(doc_get(one, "size"), &dim))
            *vectors = add(*vectors, scale(dim, bits_of(doc_get(one, "datatype")), 8));
}

bool estimate_read_report(const cJSON *report, struct memory_report *out)
{
    const cJSON *total = doc_get(report, "total");
    uint64_t cache = 0;
    *out = (struct memory_report){0};
    if (!doc_u64(doc_get(total, "ram_bytes"), &out->needed))
        return false;
    doc_u64(doc_get(total, "expected_cache_bytes"), &cache);
    doc_u64(doc_get(total, "disk_bytes"), &out->disk);
    doc_u64(doc_get(total, "cached_bytes"), &out->cached);
    out->good = add(out->needed, cache);
    return true;
}
