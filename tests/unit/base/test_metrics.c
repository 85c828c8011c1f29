#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"

static const char *const op_names[] = {"unknown", "search", "upsert"};

static int start(void **state)
{
    metrics_init(3, op_names);
    return 0;
}

static int stop(void **state)
{
    metrics_scrape(MS_TX_STATE, NULL, NULL);
    metrics_fini();
    return 0;
}

static char *page(void)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    metrics_render(f);
    fclose(f);
    return text;
}

static void assert_line(const char *text, const char *line)
{
    char with_ends[512];
    snprintf(with_ends, sizeof with_ends, "\n%s\n", line);
    if (!strstr(text, with_ends))
        fail_msg("the page has no line '%s':\n%s", line, text);
}

static void threads_add_up(void **state)
{
    struct metrics *a = metrics_open("a"), *b = metrics_open("b");
    metrics_add(a, M_CLIENT_ACCEPTED, 2);
    metrics_add(b, M_CLIENT_ACCEPTED, 3);
    metrics_gauge_add(a, G_CLIENT_CONNECTIONS, 5);
    metrics_gauge_add(b, G_CLIENT_CONNECTIONS, -3);
    metrics_gauge_set(a, G_CONFIG_GENERATION, 7);
    assert_int_equal(metrics_counter_sum(M_CLIENT_ACCEPTED), 5);
    assert_int_equal(metrics_gauge_sum(G_CLIENT_CONNECTIONS), 2);
    assert_int_equal(metrics_gauge_sum(G_CONFIG_GENERATION), 7);
}

static void without_a_block_nothing_is_counted(void **state)
{
    metrics_add(NULL, M_CLIENT_ACCEPTED, 1);
    metrics_refused(NULL, 400);
    metrics_model_add(NULL, 0, MM_REWRITES, 1);
    metrics_request(NULL, 0, 0, 200, 1);
    assert_int_equal(metrics_counter_sum(M_CLIENT_ACCEPTED), 0);
}

static void a_model_keeps_its_number(void **state)
{
    unsigned hermes = metrics_model("hermes");
    assert_int_not_equal(metrics_model("phi3"), hermes);
    assert_int_equal(metrics_model("hermes"), hermes);
}

static void too_many_models_share_other(void **state)
{
    char name[16];
    unsigned last = 0;
    for (unsigned i = 0; i < METRICS_MODELS_MAX + 9; i++) {
        snprintf(name, sizeof name, "m%u", i);
        last = metrics_model(name);
        assert_int_equal(last, i < METRICS_MODELS_MAX - 1 ? i : METRICS_MODELS_MAX - 1);
    }
    assert_int_equal(metrics_model("m3"), 3);
    metrics_model_add(metrics_open("a"), last, MM_REWRITES, 1);
    char *text = page();
    assert_line(text, "optimization_rewrites_total{model=\"other\"} 1");
    free(text);
}

static void requests_show_by_model_operation_and_status(void **state)
{
    struct metrics *m = metrics_open("a");
    unsigned hermes = metrics_model("hermes");
    metrics_request(m, hermes, 1, 200, 250);
    metrics_request(m, hermes, 1, 200, 251);
    metrics_request(m, hermes, 1, 503, 60000001);
    metrics_request(m, hermes, 2, 0, 1);
    assert_int_equal(metrics_requests_sum(hermes, 1, 200), 2);
    char *text = page();
    assert_line(text, "model_requests_total{model=\"hermes\",operation=\"search\",status=\"200\"} 2");
    assert_line(text, "model_requests_total{model=\"hermes\",operation=\"search\",status=\"503\"} 1");
    assert_line(text, "model_requests_total{model=\"hermes\",operation=\"upsert\",status=\"none\"} 1");
    assert_line(text, "model_request_duration_seconds_bucket{model=\"hermes\",le=\"0.0001\"} 1");
    assert_line(text, "model_request_duration_seconds_bucket{model=\"hermes\",le=\"0.00025\"} 2");
    assert_line(text, "model_request_duration_seconds_bucket{model=\"hermes\",le=\"60\"} 3");
    assert_line(text, "model_request_duration_seconds_bucket{model=\"hermes\",le=\"+Inf\"} 4");
    assert_line(text, "model_request_duration_seconds_sum{model=\"hermes\"} 60.000503");
    assert_line(text, "model_request_duration_seconds_count{model=\"hermes\"} 4");
    free(text);
}

static void the_hit_rate_is_hits_of_all_stores_by_lookups(void **state)
{
    struct metrics *m = metrics_open("a");
    unsigned hermes = metrics_model("hermes"), phi3 = metrics_model("phi3");
    assert_true(metrics_hit_rate(hermes) == 0);
    metrics_model_add(m, hermes, MM_CACHE_LOOKUPS, 4);
    metrics_model_add(m, hermes, MM_CACHE_HITS_MEMORY, 2);
    metrics_model_add(m, hermes, MM_CACHE_HITS_REDIS, 1);
    metrics_model_add(m, phi3, MM_CACHE_LOOKUPS, 2);
    char *text = page();
    assert_line(text, "cache_hit_rate{model=\"hermes\"} 0.75");
    assert_line(text, "cache_hit_rate{model=\"phi3\"} 0");
    assert_line(text, "cache_hit_rate 0.5");
    assert_line(text, "cache_hits_total{model=\"hermes\",store=\"memory\"} 2");
    free(text);
}

static void label_values_are_escaped(void **state)
{
    struct metrics *m = metrics_open("a");
    metrics_model_gauge_add(m, metrics_model("a\"b\\c\nd"), MG_POOL_IDLE, -1);
    char *text = page();
    assert_line(text, "model_pool_idle{model=\"a\\\"b\\\\c\\nd\"} -1");
    free(text);
}

static void refusals_have_a_row_each_or_share_one(void **state)
{
    struct metrics *m = metrics_open("a");
    metrics_refused(m, 431);
    metrics_refused(m, 418);
    char *text = page();
    assert_line(text, "quiver_refused_requests_total{status=\"431\"} 1");
    assert_line(text, "quiver_refused_requests_total{status=\"400\"} 0");
    assert_line(text, "quiver_refused_requests_total{status=\"other\"} 1");
    free(text);
}

static void tx_states(struct metrics_out *out, void *arg)
{
    metrics_emit(out, "fetch", *(double *)arg);
    metrics_emit(out, "reply", 0.25);
}

static void scraped_values_are_asked_for(void **state)
{
    double fetching = 3;
    metrics_scrape(MS_TX_STATE, tx_states, &fetching);
    char *text = page();
    assert_line(text, "quiver_tx_state{state=\"fetch\"} 3");
    assert_line(text, "quiver_tx_state{state=\"reply\"} 0.25");
    assert_line(text, "quiver_build_info{version=\"" QUIVER_VERSION "\"} 1");
    assert_non_null(strstr(text, "\nquiver_uptime_seconds "));
    assert_non_null(strstr(text, "\nquiver_resident_memory_bytes "));
    assert_non_null(strstr(text, "\nquiver_memory_allocated_bytes "));
    free(text);
}

/* Every sample belongs to the family whose TYPE stands above it, and no family comes twice. */
static void the_page_is_well_formed(void **state)
{
    struct metrics *m = metrics_open("a");
    metrics_request(m, metrics_model("hermes"), 1, 200, 250);
    char *text = page(), *seen[256], family[128] = "";
    unsigned n_seen = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char name[128], type[32];
        if (sscanf(line, "# TYPE %127s %31s", name, type) == 2) {
            for (unsigned i = 0; i < n_seen; i++)
                assert_string_not_equal(seen[i], name);
            assert_true(n_seen < 256);
            seen[n_seen++] = strdup(name);
            strcpy(family, name);
            assert_true(!strcmp(type, "counter") || !strcmp(type, "gauge") || !strcmp(type, "histogram"));
            assert_true(strcmp(type, "counter") != 0 || strstr(name, "_total"));
        } else if (*line != '#') {
            assert_memory_equal(line, family, strlen(family));
        } else {
            assert_int_equal(sscanf(line, "# HELP %127s %31s", name, type), 2); /* and a help there is */
        }
    }
    while (n_seen)
        free(seen[--n_seen]);
    free(text);
}

static void *count(void *arg)
{
    struct metrics *m = metrics_open("counting");
    for (unsigned i = 0; i < 20000; i++) {
        metrics_add(m, M_CLIENT_ACCEPTED, 1);
        metrics_request(m, i % 3, i % 3, 200 + i % 5, i);
    }
    return NULL;
}

static void a_page_may_be_made_while_threads_count(void **state)
{
    pthread_t thread[2];
    for (unsigned i = 0; i < 3; i++)
        metrics_model((const char *[]){"a", "b", "c"}[i]);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, count, NULL);
    for (unsigned i = 0; i < 20; i++)
        free(page());
    for (unsigned i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(metrics_counter_sum(M_CLIENT_ACCEPTED), 40000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(threads_add_up),
        TEST(without_a_block_nothing_is_counted),
        TEST(a_model_keeps_its_number),
        TEST(too_many_models_share_other),
        TEST(requests_show_by_model_operation_and_status),
        TEST(the_hit_rate_is_hits_of_all_stores_by_lookups),
        TEST(label_values_are_escaped),
        TEST(refusals_have_a_row_each_or_share_one),
        TEST(scraped_values_are_asked_for),
        TEST(the_page_is_well_formed),
        TEST(a_page_may_be_made_while_threads_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
