#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/api.h"
#include "base/metrics.h"

static struct event_base *base;
static struct sockaddr_in address;
static struct api *api;
static bool is_ready;

static bool ready(struct str *why, void *arg)
{
    *why = STR("no upstream server has an address yet\n");
    return is_ready;
}

static int start(void **state)
{
    static const char *const op_names[] = {"search"};
    static const struct api_hooks hooks = {.ready = ready};
    socklen_t n = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8) ||
        getsockname(fd, (struct sockaddr *)&address, &n))
        return -1;
    metrics_init(1, op_names);
    base = event_base_new();
    is_ready = true;
    api = api_open(base, &fd, 1, &hooks, NULL);
    return api ? 0 : -1;
}

static int stop(void **state)
{
    api_close(&api);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    metrics_fini();
    return 0;
}

/* The whole answer to one request on a connection of its own. */
static const char *ask(const char *method, const char *target)
{
    static char text[1 << 18];
    char request[256];
    size_t n = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    int n_request = snprintf(request, sizeof request,
                             "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, target);
    assert_int_equal(send(fd, request, (size_t)n_request, 0), n_request);
    for (unsigned i = 0; i < 2000; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
        poll(NULL, 0, got < 0);
    }
    text[n] = 0;
    close(fd);
    return text;
}

static void assert_answer(const char *answer, const char *begins, const char *has)
{
    if (strncmp(answer, begins, strlen(begins)) != 0 || !strstr(answer, has))
        fail_msg("wanted '%s ... %s', got: %s", begins, has, answer);
}

static void healthz_says_ok(void **state)
{
    is_ready = false;
    assert_answer(ask("GET", "/healthz"), "HTTP/1.1 200 ", "\r\n\r\nok\n");
    assert_answer(ask("GET", "/healthz?x=1"), "HTTP/1.1 200 ", "\r\n\r\nok\n");
}

static void readyz_says_why_not(void **state)
{
    assert_answer(ask("GET", "/readyz"), "HTTP/1.1 200 ", "\r\n\r\nready\n");
    is_ready = false;
    assert_answer(ask("GET", "/readyz"), "HTTP/1.1 503 ", "\r\n\r\nno upstream server has an address yet\n");
}

static void metrics_is_a_page_for_prometheus(void **state)
{
    metrics_request(metrics_open("test"), metrics_model("hermes"), 0, 200, 900);
    const char *answer = ask("GET", "/metrics");
    assert_answer(answer, "HTTP/1.1 200 ", "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_answer(answer, "HTTP/1.1 200 ",
                  "model_requests_total{model=\"hermes\",operation=\"search\",status=\"200\"} 1\n");
    assert_answer(ask("HEAD", "/metrics"), "HTTP/1.1 200 ", "Connection: close\r\n\r\n");
    assert_null(strstr(ask("HEAD", "/metrics"), "HELP"));
}

static void an_unknown_path_names_the_known_ones(void **state)
{
    assert_answer(ask("GET", "/metric"), "HTTP/1.1 404 ", "\r\nContent-Type: application/json\r\n");
    assert_answer(ask("GET", "/metric"), "HTTP/1.1 404 ",
                  "{\"status\":{\"error\":\"the control port has no path '/metric', it has: /healthz, "
                  "/readyz, /metrics, ");
    assert_answer(ask("GET", "/\"x"), "HTTP/1.1 4", "");
}

static void a_wrong_method_is_told_the_right_ones(void **state)
{
    assert_answer(ask("DELETE", "/metrics"), "HTTP/1.1 405 ", "\r\nAllow: GET, HEAD\r\n");
    assert_answer(ask("DELETE", "/metrics"), "HTTP/1.1 405 ",
                  "/metrics does not take DELETE, it takes: GET, HEAD");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(healthz_says_ok),
        TEST(readyz_says_why_not),
        TEST(metrics_is_a_page_for_prometheus),
        TEST(an_unknown_path_names_the_known_ones),
        TEST(a_wrong_method_is_told_the_right_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
