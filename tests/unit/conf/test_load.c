#include "conf_case.h"

#define SEC UINT64_C(1000000)

static void a_line_of_optimizations_loads_as_it_stands(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "model-optimizations.yaml",
              "optimizations:\n"
              "  mixtral: {vector_size: 4096, index_type: \"HNSW\", index_params: {m: 16, ef_construct: "
              "200}, cache_ttl: 300, "
              "batch_size: 50, memory_limit: \"8GB\"}\n");
    case_loads(&c);
    const struct conf_model *m = case_model(&c, "mixtral");
    assert_int_equal(m->base.vector_size, 4096);
    assert_int_equal(m->base.index_type, INDEX_HNSW);
    assert_int_equal(m->base.index_m, 16);
    assert_int_equal(m->base.memory_limit, UINT64_C(8000000000));
    assert_int_equal(case_cache(&c, "mixtral")->ttl, 300 * SEC);
    assert_string_equal(m->base.collections.text[0], "mixtral");
    assert_string_equal(c.conf->group[m->group].server[0].url, "http://127.0.0.1:9");
    case_fini(&c);
}

static void the_same_key_in_two_files_names_both_lines(void **state)
{
    struct conf_case c;
    char expected[300];
    case_init(&c);
    case_file(&c, "model-optimizations.yaml", "optimizations:\n  m: {cache_ttl: 5}\n");
    case_file(&c, "caching-optimizations.yaml", "caching:\n  # x\n  m:\n    cache_ttl: 6\n");
    snprintf(expected, sizeof expected, "caching-optimizations.yaml:4: caching.m.cache_ttl: already set at "
             "%s/model-optimizations.yaml:2 (optimizations.m.cache_ttl), expected one place only", c.folder);
    assert_string_equal(case_refused(&c), expected);
    case_fini(&c);
}

static void a_key_in_the_wrong_file_is_told_the_right_one(void **state)
{
    refuses("caching:\n  m: {batch_size: 5}\n", "one.yaml:2: caching.m.batch_size: belongs into tuning: of "
                                                "performance-tuning.yaml, found in caching:");
    struct conf_case c;
    case_init(&c);
    case_file(&c, "caching-optimizations.yaml", "tuning: {}\n");
    assert_string_equal(case_refused(&c),
                        "caching-optimizations.yaml:1: tuning: found in caching-optimizations.yaml, "
                        "expected in performance-tuning.yaml");
    case_file(&c, "caching-optimizations.yaml", "listen: 1\n");
    assert_string_equal(case_refused(&c), "caching-optimizations.yaml:1: listen: found in "
                                          "caching-optimizations.yaml, expected caching: only; what "
                                          "concerns the whole process belongs into quiver.yaml");
    case_fini(&c);
    refuses_with("cache_ttl: 5\n",
                 "one.yaml:1: cache_ttl: a key of models, expected below a model's name in caching:");
    refuses_with("tuning: {m: {workers: 5}}\n",
                 "tuning.m.workers: a key of the whole process, expected in quiver.yaml");
}

static void unknown_keys_get_the_nearest_known_one(void **state)
{
    refuses("lisen: 5\n", "one.yaml:1: lisen: unknown key, did you mean listen?");
    refuses("\nredis:\n  budgt: 5\n", "one.yaml:3: redis.budgt: unknown key, did you mean redis.budget?");
    refuses("caching:\n  m:\n    cahce_ttl: 5\n",
            "one.yaml:3: caching.m.cahce_ttl: unknown key, did you mean cache_ttl?");
    refuses("cachin: {}\n", "one.yaml:1: cachin: unknown key, did you mean caching?");
    refuses("upstream:\n  zzzzzzzzz: 5\n",
            "one.yaml:2: upstream.zzzzzzzzz: unknown key, expected one of api_key, api_key_file, connect_timeout, "
            "queue_timeout, first_byte_timeout, write_timeout, body_timeout, idle_timeout, resolve_interval");
    refuses("zzzzzzzzz: 5\n",
            "one.yaml:1: zzzzzzzzz: unknown key, expected one of listen, api, workers, busy_poll, pid, "
            "redis, coherence, upstream, limits, state_dir, tune, log, queries, rewrite, cache");
    refuses("optimizations: {m: {search: {max: {exact: true}}}}\n",
            "one.yaml:1: optimizations.m.search.max.exact: unknown key, expected one of hnsw_ef, quantization");
    refuses_with("redis.url: x\n",
                 "a key with dots, expected one mapping inside the other, as in redis: {...}");
    refuses(
        "redis: 5\n",
        "one.yaml:1: redis: a single value, expected a mapping with url, shared, budget, connect_timeout, "
        "max_entry");
    refuses("log: {level: {a: 1}}\n", "one.yaml:1: log.level: a mapping, expected a word");
}

static void types_are_strict(void **state)
{
    refuses("workers: \"2\"\n", "one.yaml:1: workers: '2' in quotes is text, expected a whole number, one "
                                "such as 16, without quotes");
    refuses("workers: 010\n", "one.yaml:1: workers: '010' is not a whole number, expected one such as 16");
    refuses_with("workers: 0x10\n", "'0x10' is not a whole number");
    refuses_with("workers: 1_0\n", "'1_0' is not a whole number");
    refuses_with("workers: -1\n", "'-1' is not a whole number");
    refuses_with("workers: 2.0\n", "'2.0' is not a whole number");
    refuses("workers: 300\n", "one.yaml:1: workers: '300' is too large, expected at most 256");
    refuses("workers:\n",
            "one.yaml:1: workers: no value, expected a whole number; leave the key out for its default");
    refuses("workers: [1]\n", "one.yaml:1: workers: a list, expected a whole number");
    refuses("redis: {shared: yes}\n",
            "one.yaml:1: redis.shared: 'yes' is not true or false, expected one of these two words");
    refuses_with("redis: {shared: \"true\"}\n", "'true' in quotes is text");
    refuses_with("redis: {shared: on}\n", "'on' is not true or false");
    refuses("redis: {budget: 5x}\n",
            "one.yaml:1: redis.budget: '5x' is not a duration, expected one such as 250ms, 30s or 5m (a "
            "plain number is seconds)");
    refuses_with("redis: {budget: \"1\"}\n", "'1' in quotes is text");
    refuses_with("redis: {budget: 1us}\n", "'1us' is too small, expected at least 100us");
    refuses_with("redis: {max_entry: 5XB}\n", "'5XB' is not a size");
    refuses_with("redis: {max_entry: 99GiB}\n", "'99GiB' is too large, expected at most 64MiB");
    refuses("log: {level: loud}\n",
            "one.yaml:1: log.level: 'loud' is not a known word, expected one of error, warn, info, debug");
    refuses_with("tuning: {m: {target: {recall: 1.5}}}\n", "'1.5' is too large, expected at most 1");
    refuses_with("optimizations: {m: {search: {default: {hnsw_ef: true}}}}\n",
                 "'true' is not a whole number");
    refuses_with("optimizations: {m: {search: {default: {exact: 1}}}}\n", "'1' is not true or false");
    refuses_with("listen: [1, [2]]\n", "a list of something else than text");
    refuses_with("listen: []\n", "one.yaml:1: listen: an empty list, expected text or a list of text; leave the key out");
}

static void contradictions_are_refused_at_their_line(void **state)
{
    refuses("optimizations:\n  m:\n    search:\n      min: {hnsw_ef: 64}\n      max: {hnsw_ef: 32}\n",
            "one.yaml:4: optimizations.m.search.min.hnsw_ef: '64' is above search.max.hnsw_ef, expected at "
            "most 32");
    refuses_with(
        "optimizations: {m: {search: {force: {hnsw_ef: 8}, min: {hnsw_ef: 16}}}}\n",
        "optimizations.m.search.force.hnsw_ef: '8' is below search.min.hnsw_ef, expected at least 16");
    refuses_with("optimizations: {m: {search: {default: {hnsw_ef: 0}}}}\n",
                 "'0' is too small, expected at least 1");
    refuses_with("optimizations: {m: {search: {default: {quantization: {oversampling: 0.5}}}}}\n",
                 "expected at least 1");
    refuses(
        "limits: {hold_body: 64MiB,\n  hold_total: 32MiB}\n",
        "one.yaml:2: limits.hold_total: limits.hold_total, 33554432 bytes, is smaller than limits.hold_body, 67108864 "
        "bytes; expected room for one body at least");
    refuses_with("limits: {hold_body: 300MiB}\n", "one.yaml:1: limits.hold_body: limits.hold_total, 268435456 bytes, is smaller");
    refuses_with("limits: {hold_total: 16MiB}\n", "one.yaml:1: limits.hold_total: limits.hold_total, 16777216 bytes, is smaller");
    refuses_with("log: {access: relative}\n", "one.yaml:1: log.access: not an absolute path");
}

static void flags_win_over_environment_and_environment_over_files(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(
        &c, "quiver.yaml",
        "workers: 1\nredis: {url: \"redis://a:1\"}\nupstreams: {default: http://file:1, x: http://x:1}\n"
        "cache: {enabled: true}\nlisten: [7001]\n");
    c.sources.flags.n_upstream = 0;
    case_loads(&c);
    assert_int_equal(c.conf->process.workers, 1);
    assert_string_equal(c.conf->process.redis.host, "a");
    assert_string_equal(c.conf->group[0].server[0].url, "http://file:1");
    case_env(&c, "QUIVER_WORKERS=2");
    case_env(&c, "QUIVER_REDIS=redis://b:2");
    case_env(&c, "QUIVER_UPSTREAM=http://e:1, http://e:2");
    case_env(&c, "QUIVER_CACHE=off");
    case_env(&c, "QUIVER_LISTEN=7002,unix:/run/q.sock");
    case_env(&c, "QUIVER_LOG_LEVEL=debug");
    case_env(&c, "QUIVER_PID=");
    case_loads(&c);
    assert_int_equal(c.conf->process.workers, 2);
    assert_string_equal(c.conf->process.redis.host, "b");
    assert_int_equal(c.conf->group[0].n_servers, 2);
    assert_string_equal(c.conf->group[0].server[1].url, "http://e:2");
    assert_string_equal(c.conf->group[1].server[0].url, "http://x:1");
    assert_false(((struct cache_process_conf *)c.conf->process_part[1])->enabled);
    assert_int_equal(c.conf->n_listen, 3);
    assert_int_equal(c.conf->process.log_level, 3);
    assert_null(c.conf->process.pid_file);
    static const char *const listen[] = {"127.0.0.1:7003"};
    c.sources.flags.workers = 3;
    c.sources.flags.redis = "off";
    c.sources.flags.upstream = case_upstream;
    c.sources.flags.n_upstream = 1;
    c.sources.flags.cache = 1;
    c.sources.flags.rewrite = 0;
    c.sources.flags.listen = listen;
    c.sources.flags.n_listen = 1;
    c.sources.flags.api = "off";
    case_loads(&c);
    assert_int_equal(c.conf->process.workers, 3);
    assert_false(c.conf->process.redis.on);
    assert_int_equal(c.conf->group[0].n_servers, 1);
    assert_true(((struct cache_process_conf *)c.conf->process_part[1])->enabled);
    assert_false(((struct rewrite_process_conf *)c.conf->process_part[0])->enabled);
    assert_int_equal(c.conf->n_listen, 1);
    assert_int_equal(c.conf->n_api, 0);
    case_fini(&c);
}

static void wrong_environment_and_flags_are_named(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "quiver.yaml", "");
    case_env(&c, "QUIVER_WORKERS=many");
    assert_string_equal(case_refused(&c),
                        "environment: QUIVER_WORKERS: 'many' is not a whole number, expected one such as 16");
    c.environment[0] = NULL;
    c.sources.flags.redis = "rediss://h:1";
    assert_string_equal(
        case_refused(&c),
        "command line: --redis: rediss:// asks for TLS, which is not available towards Redis; expected "
        "redis://HOST:PORT of a local TLS client such as stunnel, or unix:/path");
    case_fini(&c);
}

static void model_variables_set_models(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "model-optimizations.yaml",
              "optimizations: {mixtral: {batch_size: 5}, yi34b: {}, yi: {}, big_yi: {}, a-b.c: {}}\n");
    case_env(&c, "MODEL_BATCH_SIZE_MIXTRAL=100");
    case_env(&c, "MODEL_INDEX_THRESHOLD_YI34B=20000");
    case_env(&c, "MODEL_CACHE_TTL_BIG_YI=1");
    case_env(&c, "MODEL_CACHE_TTL_A_B_C=250ms");
    case_env(&c, "MODEL_INDEX_PARAMS_M_YI=12");
    case_env(&c, "MODEL_SEARCH_DEFAULT_HNSW_EF_YI=48");
    case_env(&c, "MODEL_CACHE_TTL_DEFAULT=9");
    case_env(&c, "MODEL_CACHE_YI=off");
    case_env(&c, "MODEL_CACHE_DIR=/var/models");
    case_env(&c, "MODEL_NAME=gpt");
    case_env(&c, "MODEL_=x");
    case_env(&c, "MODEL_BATCH_SIZE_YI34B=");
    case_loads(&c);
    assert_int_equal(case_model(&c, "mixtral")->base.batch_size, 100);
    assert_int_equal(case_model(&c, "yi34b")->base.indexing_threshold, 20000);
    assert_int_equal(case_cache(&c, "big_yi")->ttl, SEC);
    assert_int_equal(case_cache(&c, "yi")->ttl, 60 * SEC);
    assert_int_equal(case_cache(&c, "a-b.c")->ttl, SEC / 4);
    assert_int_equal(case_model(&c, "yi")->base.index_m, 12);
    assert_string_equal(case_rewrite(&c, "yi")->set_default[KNOB_HNSW_EF_], "48");
    assert_int_equal(case_cache(&c, "default")->ttl, 9 * SEC);
    assert_false(case_cache(&c, "yi")->on);
    case_fini(&c);
}

static void model_variables_that_miss_are_refused(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "model-optimizations.yaml", "optimizations: {mixtral: {}, a-b: {}, a_b: {}}\n");
    case_env(&c, "MODEL_CACHE_TTLL_MIXTRAL=1");
    assert_string_equal(
        case_refused(&c),
        "environment: MODEL_CACHE_TTLL_MIXTRAL: 'CACHE_TTLL' is no key of models, expected one "
        "such as MODEL_CACHE_TTL_MIXTRAL");
    c.environment[0] = (char *)"MODEL_BATCH_SIZE_MIXTRALL=1";
    assert_string_equal(
        case_refused(&c),
        "environment: MODEL_BATCH_SIZE_MIXTRALL: names batch_size but no model, expected its end "
        "to be one of DEFAULT, MIXTRAL, A_B, A_B");
    c.environment[0] = (char *)"MODEL_CACHE_TTL_A_B=1";
    assert_string_equal(
        case_refused(&c),
        "environment: MODEL_CACHE_TTL_A_B: means model a-b as well as a_b, expected to be set in "
        "the files");
    c.environment[0] = (char *)"MODEL_CACHE_TTL_MIXTRAL=soon";
    assert_non_null(
        strstr(case_refused(&c), "environment: MODEL_CACHE_TTL_MIXTRAL: 'soon' is not a duration"));
    case_fini(&c);
}

static void switches_win_and_go_by_the_names_of_models(void **state)
{
    static const struct conf_switch switches[] = {
        {"a-b", "cache", "true"}, {"a.b", "memory_policy", "refuse"}, {"gone", "cache", "false"}};
    struct conf_case c;
    case_init(&c);
    case_file(&c, "model-optimizations.yaml", "optimizations: {a-b: {}, a.b: {}, a: {}}\n");
    case_env(&c, "MODEL_CACHE_A=false");
    c.sources.switches = switches;
    c.sources.n_switches = 3;
    case_loads(&c);
    assert_true(case_cache(&c, "a-b")->on);
    assert_true(case_cache(&c, "a.b")->on);
    assert_false(case_cache(&c, "a")->on);
    assert_null(conf_model_named(c.conf, STR("gone")));
    c.environment[0] = (char *)"MODEL_CACHE_A=true";
    c.sources.switches = &(struct conf_switch){"a", "cache", "false"};
    c.sources.n_switches = 1;
    case_loads(&c);
    assert_false(case_cache(&c, "a")->on);
    c.sources.switches = &(struct conf_switch){"a", "cache", "perhaps"};
    assert_non_null(strstr(case_refused(&c), "switch: a.cache: 'perhaps' is not true or false"));
    case_fini(&c);
}

static void collections_route_to_models(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "model-optimizations.yaml",
              "optimizations:\n  a: {collections: [one, 'a-*']}\n  b: {collections: 'a-long-*'}\n  c: {}\n");
    case_loads(&c);
    assert_string_equal(conf_model_of(c.conf, STR("one"))->name, "a");
    assert_string_equal(conf_model_of(c.conf, STR("a-x"))->name, "a");
    assert_string_equal(conf_model_of(c.conf, STR("a-long-x"))->name, "b");
    assert_string_equal(conf_model_of(c.conf, STR("c"))->name, "c");
    assert_string_equal(conf_model_of(c.conf, STR("a"))->name, "default");
    assert_null(conf_model_named(c.conf, STR("zz")));
    case_file(&c, "model-optimizations.yaml", "optimizations: {d: {collections: []}}\n");
    assert_string_equal(case_refused(&c), "model-optimizations.yaml:1: optimizations.d.collections: an empty list, expected text or a list of "
                                          "text; leave the key out for its default");
    case_fini(&c);
}

static void ties_and_patterns_of_default_are_refused(void **state)
{
    struct conf_case c;
    char expected[300];
    case_init(&c);
    case_file(&c, "model-optimizations.yaml",
              "optimizations:\n  a: {collections: 'x*'}\n  b:\n    collections: '*x'\n");
    snprintf(expected, sizeof expected,
             "model-optimizations.yaml:4: optimizations.b.collections: '*x' ties with 'x*' of model a "
             "(%s/model-optimizations.yaml:2), expected patterns of which one is longer",
             c.folder);
    assert_string_equal(case_refused(&c), expected);
    case_file(&c, "model-optimizations.yaml", "optimizations:\n  a: {}\n  b:\n    collections: [a, b]\n");
    snprintf(expected, sizeof expected,
             "model-optimizations.yaml:4: optimizations.b.collections: 'a' ties with 'a' of model a "
             "(%s/model-optimizations.yaml:2), expected patterns of which one is longer",
             c.folder);
    assert_string_equal(case_refused(&c), expected);
    case_fini(&c);
    refuses("optimizations: {default: {collections: x}}\n",
            "one.yaml:1: optimizations.default.collections: a pattern for the model "
            "default, expected none: it gets what no model claims");
    refuses_with("optimizations: {a: {collections: a/b}}\n", "'a/b' is not a collection's name");
    refuses_with("optimizations: {'a b': {}}\n", "optimizations.a b: not a model's name");
}

static void groups_must_exist_and_have_servers(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "one.yaml",
              "upstreams: {a: http://h:1, b: [http://i:1, http://j:1], c: {servers: [http://k:1]}}\n"
              "optimizations:\n  m: {upstream: b}\n  default: {upstream: a}\n");
    c.sources.flags.path = c.path;
    c.sources.flags.n_upstream = 0;
    case_loads(&c);
    assert_int_equal(case_model(&c, "m")->group, 1);
    assert_int_equal(case_model(&c, "default")->group, 0);
    case_file(&c, "one.yaml", "upstreams: {a: http://h:1}\n");
    assert_string_equal(
        case_refused(&c),
        "configuration: default: model default needs the group 'default' of upstreams, which is "
        "not there; expected one of a, or that group in upstreams:");
    case_fini(&c);
    refuses("optimizations:\n  m: {upstream: b}\n",
            "one.yaml:2: optimizations.m.upstream: model m needs the group 'b' of upstreams, "
            "which is not there; expected one of default, or that group in upstreams:");
    refuses_with("upstreams: {x: []}\n", "upstreams.x: a group without servers");
    refuses_with("upstreams: {x: {hosts: a}}\n", "upstreams.x: not a group");
    refuses_with("upstreams: {x: [http://a:1, http://A:1]}\n", "'http://a:1' is named twice in group x");
    refuses_with("upstreams: http://a:1\n",
                 "upstreams: not a mapping, expected groups, as in {default: http://127.0.0.1:6334}");
    refuses_with("upstreams:\n  x:\n    - http://a:1\n    - https://b:1\n",
                 "one.yaml:4: upstreams.x: 'https://b:1' asks for TLS");
}

static void an_upstream_that_is_an_own_listener_is_refused(void **state)
{
    refuses("listen: 6333\nupstreams: {x: http://localhost:6333}\n",
            "one.yaml:2: upstreams.x: 'http://localhost:6333' is quiver's own listener '127.0.0.1:6333', "
            "expected Qdrant's address");
    refuses_with("upstreams: {x: http://127.0.0.1:8000}\n", "quiver's own listener '127.0.0.1:8000'");
    refuses_with("upstreams: {x: 'http://[::1]:6333'}\n", "quiver's own listener '[::1]:6333'");
    refuses_with("listen: 0.0.0.0:7000\nupstreams: {x: http://127.0.0.1:7000}\n",
                 "own listener '0.0.0.0:7000'");
    refuses_with("listen: '[::]:7000'\nupstreams: {x: http://127.9.9.9:7000}\n", "own listener '[::]:7000'");
}

static void listeners_may_not_collide(void **state)
{
    refuses_with("listen: [6333, 127.0.0.1:6333]\n",
                 "listen: '127.0.0.1:6333' and '127.0.0.1:6333' are the same place");
    refuses_with("listen: 6333\napi: 6333\n", "one.yaml:2: api: '127.0.0.1:6333' is where clients connect");
    refuses_with("listen: 0.0.0.0:8000\n", "is where clients connect ('0.0.0.0:8000')");
    refuses_with("listen: 99999\n", "one.yaml:1: listen: '99999' is not a place to listen at");
}

static void an_api_key_may_stand_in_a_file(void **state)
{
    struct conf_case c;
    char text[200];
    case_init(&c);
    case_file(&c, "key", "  secret-of-8\n");
    snprintf(text, sizeof text, "upstream: {api_key_file: %s/key}\n", c.folder);
    case_file(&c, "quiver.yaml", text);
    case_loads(&c);
    assert_string_equal(c.conf->process.api_key, "secret-of-8");
    case_env(&c, "QUIVER_UPSTREAM_API_KEY=from-environment");
    case_loads(&c);
    assert_string_equal(c.conf->process.api_key, "from-environment");
    c.environment[0] = NULL;
    case_file(&c, "key", "two words");
    assert_non_null(
        strstr(case_refused(&c), "upstream.api_key_file: a key with bytes that no header can carry"));
    case_file(&c, "key", "\n");
    assert_non_null(strstr(case_refused(&c), "/key is empty, expected a key"));
    case_fini(&c);
    refuses_with("upstream: {api_key_file: /nonexistent/key}\n",
                 "one.yaml:1: upstream.api_key_file: /nonexistent/key: cannot be read");
    refuses_with("upstream: {api_key: a, api_key_file: /b}\n",
                 "set beside upstream.api_key, expected one of the two");
    refuses_with("upstream: {api_key: \"a b\"}\n", "upstream.api_key: a key with bytes");
}

static void a_missing_path_or_an_empty_folder_is_refused(void **state)
{
    struct conf_case c;
    case_init(&c);
    assert_non_null(
        strstr(case_refused(&c), ": holds none of the five files, expected at least quiver.yaml"));
    c.sources.flags.path = "/nonexistent/q";
    assert_string_equal(
        case_refused(&c),
        "/nonexistent/q: cannot be read: No such file or directory; expected a file or a folder "
        "with quiver.yaml");
    c.sources.flags.path = NULL;
    case_env(&c, "QUIVER_CONF=/nonexistent/env");
    assert_non_null(strstr(case_refused(&c), "/nonexistent/env: cannot be read"));
    case_fini(&c);
}

static void a_file_that_is_there_and_cannot_be_read_is_not_left_out(void **state)
{
    struct conf_case c;
    char path[200];
    case_init(&c);
    case_file(&c, "quiver.yaml", "workers: 3\n");
    snprintf(path, sizeof path, "%s/model-optimizations.yaml", c.folder);
    assert_int_equal(symlink("/nonexistent/..data/model-optimizations.yaml", path), 0);
    assert_string_equal(case_refused(&c), "model-optimizations.yaml: cannot be read: No such file or directory");
    unlink(path);
    case_loads(&c);
    case_fini(&c);
}

static void a_folder_gives_whichever_of_the_five_are_there(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "caching-optimizations.yaml", "caching: {m: {cache_ttl: 7}, n: }\n");
    case_loads(&c);
    assert_int_equal(c.conf->n_models, 3);
    assert_int_equal(case_cache(&c, "m")->ttl, 7 * SEC);
    assert_int_equal(c.conf->n_listen, 2);
    assert_string_equal(c.conf->listen[0].text, "127.0.0.1:6333");
    assert_string_equal(c.conf->listen[1].text, "[::1]:6333");
    assert_true(c.conf->listen[1].optional);
    assert_string_equal(c.conf->api[0].text, "127.0.0.1:8000");
    case_fini(&c);
}

static void a_file_over_1_mb_is_refused(void **state)
{
    struct conf_case c;
    char *text = malloc(1000002);
    memset(text, '#', 1000001);
    text[1000001] = 0;
    case_init(&c);
    case_file(&c, "quiver.yaml", text);
    assert_string_equal(case_refused(&c), "quiver.yaml:1: the file is larger than 1 MB, expected less");
    free(text);
    case_fini(&c);
}

static void a_snapshot_lives_until_its_last_reference_goes(void **state)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "quiver.yaml", "");
    case_loads(&c);
    struct conf *pinned = conf_get(c.conf);
    conf_put(&c.conf);
    assert_null(c.conf);
    assert_string_equal(conf_model_of(pinned, STR("x"))->name, "default");
    conf_put(&pinned);
    case_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_of_optimizations_loads_as_it_stands),
        cmocka_unit_test(the_same_key_in_two_files_names_both_lines),
        cmocka_unit_test(a_key_in_the_wrong_file_is_told_the_right_one),
        cmocka_unit_test(unknown_keys_get_the_nearest_known_one),
        cmocka_unit_test(types_are_strict),
        cmocka_unit_test(contradictions_are_refused_at_their_line),
        cmocka_unit_test(flags_win_over_environment_and_environment_over_files),
        cmocka_unit_test(wrong_environment_and_flags_are_named),
        cmocka_unit_test(model_variables_set_models),
        cmocka_unit_test(model_variables_that_miss_are_refused),
        cmocka_unit_test(switches_win_and_go_by_the_names_of_models),
        cmocka_unit_test(collections_route_to_models),
        cmocka_unit_test(ties_and_patterns_of_default_are_refused),
        cmocka_unit_test(groups_must_exist_and_have_servers),
        cmocka_unit_test(an_upstream_that_is_an_own_listener_is_refused),
        cmocka_unit_test(listeners_may_not_collide),
        cmocka_unit_test(an_api_key_may_stand_in_a_file),
        cmocka_unit_test(a_missing_path_or_an_empty_folder_is_refused),
        cmocka_unit_test(a_file_that_is_there_and_cannot_be_read_is_not_left_out),
        cmocka_unit_test(a_folder_gives_whichever_of_the_five_are_there),
        cmocka_unit_test(a_file_over_1_mb_is_refused),
        cmocka_unit_test(a_snapshot_lives_until_its_last_reference_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
