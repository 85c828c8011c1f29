#include "conf_case.h"

#include <math.h>

static const char *const nine[] = {"mixtral", "hermes", "openchat",  "yi34b",  "deepseek",
                                   "phi3",    "imp",    "deepcoder", "general"};
static const unsigned sizes[] = {4096, 4096, 4096, 4096, 4096, 2048, 2048, 1024, 384};

static void the_shipped_folder_loads_and_holds_nine_models_and_default(void **state)
{
    struct conf_case c;
    case_init(&c);
    c.sources.flags.path = "conf";
    case_loads(&c);
    assert_int_equal(c.conf->n_models, 10);
    assert_string_equal(c.conf->model[0].name, "default");
    for (unsigned i = 0; i < 9; i++) {
        const struct conf_model *m = conf_model_of(c.conf, str_of(nine[i]));
        assert_string_equal(m->name, nine[i]);
        assert_int_equal(m->base.vector_size, sizes[i]);
        assert_int_equal(m->base.quantization_type, QUANTIZATION_SCALAR);
        assert_true(m->base.target_ops >= 800 && m->base.target_recall >= 0.99 &&
                    m->base.target_hit_rate >= 0.85);
        assert_string_equal(case_rewrite(&c, nine[i])->set_default[KNOB_HNSW_EF_], "32");
        assert_string_equal(case_rewrite(&c, nine[i])->set_default[KNOB_OVERSAMPLING_], "1.5");
        assert_string_equal(case_rewrite(&c, nine[i])->set_default[KNOB_RESCORE_], "true");
    }
    case_fini(&c);
}

static void shipped_values_are_those_that_operators_know(void **state)
{
    struct conf_case c;
    case_init(&c);
    c.sources.flags.path = "conf";
    case_loads(&c);
    const struct conf_model_base *m = &case_model(&c, "mixtral")->base;
    assert_int_equal(m->index_m, 16);
    assert_int_equal(m->index_ef_construct, 200);
    assert_int_equal(m->batch_size, 50);
    assert_int_equal(m->memory_limit, UINT64_C(8000000000));
    assert_int_equal(case_cache(&c, "mixtral")->ttl, 300 * UINT64_C(1000000));
    assert_int_equal(case_cache(&c, "hermes")->ttl, 600 * UINT64_C(1000000));
    assert_int_equal(case_model(&c, "hermes")->base.batch_size, 75);
    m = &case_model(&c, "phi3")->base;
    assert_int_equal(m->index_m, 32);
    assert_int_equal(m->index_ef_construct, 400);
    assert_int_equal(m->batch_size, 100);
    assert_int_equal(m->memory_limit, UINT64_C(4000000000));
    assert_int_equal(case_cache(&c, "phi3")->ttl, 900 * UINT64_C(1000000));
    m = &case_model(&c, "deepcoder")->base;
    assert_int_equal(m->index_m, 64);
    assert_int_equal(m->index_ef_construct, 800);
    assert_int_equal(m->batch_size, 200);
    assert_int_equal(m->memory_limit, UINT64_C(2000000000));
    assert_int_equal(case_cache(&c, "deepcoder")->ttl, 1200 * UINT64_C(1000000));
    case_fini(&c);
}

static void default_is_cached_for_a_minute_and_rewrites_nothing(void **state)
{
    struct rewrite_rules rules;
    struct conf_case c;
    case_init(&c);
    c.sources.flags.path = "conf";
    case_loads(&c);
    assert_true(case_cache(&c, "default")->on);
    assert_int_equal(case_cache(&c, "default")->ttl, 60 * UINT64_C(1000000));
    rewrite_rules_build(case_rewrite(&c, "default"), &rules);
    assert_false(rules.any);
    assert_ptr_equal(conf_model_of(c.conf, STR("nobody-knows")), &c.conf->model[0]);
    case_fini(&c);
}

static void the_same_files_are_compiled_in(void **state)
{
    struct conf_case c;
    if (access("/etc/quiver", F_OK) == 0)
        skip();
    case_init(&c);
    c.sources.flags.path = NULL;
    case_loads(&c);
    assert_int_equal(c.conf->n_models, 10);
    c.sources.flags.n_upstream = 0;
    assert_string_equal(
        case_refused(&c),
        "upstreams: no upstream is named anywhere, expected a line such as \"upstreams: {default: "
        "http://127.0.0.1:6334}\" in quiver.yaml, or --upstream http://127.0.0.1:6334");
    case_fini(&c);
}

static char *dumped(const struct conf_case *c)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    conf_dump(c->conf, &c->sources, f);
    fclose(f);
    return text;
}

static void dumps_to_what_loads_equal(struct conf_case *c)
{
    case_loads(c);
    char *first = dumped(c);
    struct conf_case again;
    case_init(&again);
    again.sources.flags.n_upstream = 0;
    case_file(&again, "one.yaml", first);
    again.sources.flags.path = again.path;
    case_loads(&again);
    char *second = dumped(&again);
    assert_string_equal(first, second);
    assert_int_equal(again.conf->n_models, c->conf->n_models);
    free(first);
    free(second);
    case_fini(&again);
}

static void the_dump_of_the_shipped_files_loads_equal(void **state)
{
    struct conf_case c;
    case_init(&c);
    c.sources.flags.path = "conf";
    dumps_to_what_loads_equal(&c);
    case_fini(&c);
}

static void the_dump_of_odd_values_loads_equal(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(
        &c, "one.yaml",
        "listen: [\"[::1]:7000\", 'unix:/run/a \"b\" \\c.sock', 7001]\napi: off\nworkers: 3\n"
        "upstreams: {default: [http://a:1, 'http://[0:0::1]:2/'], b: {servers: HTTP://QDRANT.Example:6333}}\n"
        "upstream: {queue_timeout: 1500us, idle_timeout: 0}\ncache: {memory: 1.5GiB}\nredis: {url: "
        "\"unix:/r.sock?db=3\"}\n"
        "optimizations:\n  a.b-c_d: {collections: ['x y', '*'], upstream: b, search: {force: {exact: false}, min: "
        "{hnsw_ef: 8}}}\n"
        "  e: {collections: ['x*', \"q?\"], on_disk: false, indexing_threshold: 0, target: {recall: 0.995}}\n"
        "caching: {e: {cache_ttl: 0.25s, cache: false}}\n");
    c.sources.flags.path = c.path;
    c.sources.flags.n_upstream = 0;
    dumps_to_what_loads_equal(&c);
    assert_int_equal(case_model(&c, "e")->base.on_disk, 1);
    assert_int_equal(case_model(&c, "e")->base.indexing_threshold, 0);
    assert_int_equal(case_model(&c, "default")->base.indexing_threshold, OPT_UNSET);
    assert_true(isnan(case_model(&c, "default")->base.target_recall));
    case_fini(&c);
}

static void a_dump_shows_no_secret(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "one.yaml", "redis: {url: \"redis://u:hunter2@r:1/0\"}\nupstream: {api_key: hunter2}\n");
    c.sources.flags.path = c.path;
    case_loads(&c);
    char *text = dumped(&c);
    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "# api_key: (set)"));
    assert_non_null(
        strstr(text, "# url: redis://(set)@r:1/0, a password is not printed: set it by QUIVER_REDIS"));
    free(text);
    case_fini(&c);
}

/* What conf/README.md says between its markers, or is told by this test to say. */
static void holds(const char *begin, const char *end, void (*made)(const struct conf_sources *, FILE *))
{
    static char readme[200000];
    char *text = NULL;
    size_t n;
    struct conf_case c;
    FILE *f = fopen("conf/README.md", "r");
    assert_non_null(f);
    readme[fread(readme, 1, sizeof readme - 1, f)] = 0;
    fclose(f);
    case_init(&c);
    f = open_memstream(&text, &n);
    made(&c.sources, f);
    fclose(f);
    char *from = strstr(readme, begin), *to = strstr(readme, end);
    assert_non_null(from);
    assert_non_null(to);
    from += strlen(begin);
    if (getenv("QUIVER_WRITE_REFERENCE")) { /* the way to bring it up to date */
        f = fopen("conf/README.md", "w");
        fprintf(f, "%.*s%s%s", (int)(from - readme), readme, text, to);
        fclose(f);
    } else if (strlen(text) != (size_t)(to - from) || memcmp(text, from, (size_t)(to - from)) != 0) {
        fail_msg("conf/README.md is not what the tables say: run this test with QUIVER_WRITE_REFERENCE=1 and commit");
    }
    free(text);
    case_fini(&c);
}

static void the_readme_holds_the_reference_of_all_options(void **state)
{
    holds("<!-- reference: begin -->\n", "<!-- reference: end -->", conf_reference);
}

static void the_readme_holds_the_ways_back(void **state)
{
    holds("<!-- rollback: begin -->\n", "<!-- rollback: end -->", conf_rollback_reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_folder_loads_and_holds_nine_models_and_default),
        cmocka_unit_test(shipped_values_are_those_that_operators_know),
        cmocka_unit_test(default_is_cached_for_a_minute_and_rewrites_nothing),
        cmocka_unit_test(the_same_files_are_compiled_in),
        cmocka_unit_test(the_dump_of_the_shipped_files_loads_equal),
        cmocka_unit_test(the_dump_of_odd_values_loads_equal),
        cmocka_unit_test(a_dump_shows_no_secret),
        cmocka_unit_test(the_readme_holds_the_reference_of_all_options),
        cmocka_unit_test(the_readme_holds_the_ways_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
