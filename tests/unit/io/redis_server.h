/* redis_server.h - a real redis-server for tests: started on a private port, stopped, frozen, restarted;
 * and a loop that runs until something is true. Included by a test's one source file. Without redis-server
 * installed have_redis() is false and tests skip. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/loop.h"

struct redis_server {
    pid_t pid;
    unsigned port;
};

static inline bool have_redis(void)
{
    return system("command -v redis-server >/dev/null 2>&1") == 0;
}

static inline int connect_to_port(unsigned port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A port that nobody has now: tests may run beside each other. */
static inline unsigned free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0 && getsockname(fd, (struct sockaddr *)&at,
                                                                                   &n) == 0;
    close(fd);
    return good ? ntohs(at.sin_port) : 0;
}

/* One inline command, e.g. "FLUSHALL"; its first line of answer into out (NULL: not wanted). */
static inline bool redis_say(const struct redis_server *server, const char *command, char *out, size_t n)
{
    char line[1024], answer[4096] = "";
    int fd = connect_to_port(server->port);
    if (fd < 0)
        return false;
    int length = snprintf(line, sizeof line, "%s\r\n", command);
    bool good = write(fd, line, (size_t)length) == length;
    ssize_t got = good ? read(fd, answer, sizeof answer - 1) : -1;
    close(fd);
    if (got <= 0)
        return false;
    answer[got] = 0;
    if (out) {
        size_t length_of_line = strcspn(answer, "\r\n");
        size_t kept = length_of_line < n - 1 ? length_of_line : n - 1;
        memcpy(out, answer, kept);
        out[kept] = 0;
    }
    return true;
}

/* more: further arguments, separated by blanks; "" none. Waits until it answers; false: it did not, or
 * somebody else has the port. */
static inline bool redis_start(struct redis_server *server, unsigned port, const char *more)
{
    char text[600], name[] = "redis-server", save[] = "--save", never[] = "", *argv[40] = {name};
    unsigned argc = 1;
    snprintf(text, sizeof text,
             "--port %u --bind 127.0.0.1 --appendonly no --daemonize no --loglevel warning --dir /tmp %s",
                 port,
             more);
    for (char *word = strtok(text, " "); word && argc < 30; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc++] = save;
    argv[argc++] = never;
    argv[argc] = NULL;
    int other = connect_to_port(port);
    if (other >= 0) {
        close(other);
        return false;
    }
    fflush(stdout);
    server->port = port;
    server->pid = fork();
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it does not outlive a test that crashes */
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        execvp(argv[0], argv);
        _exit(127);
    }
    for (unsigned i = 0; i < 200; i++) {
        if (redis_say(server, "PING", NULL, 0))
            return true;
        usleep(20000);
    }
    return false;
}

static inline void redis_kill(struct redis_server *server)
{
    if (!server->pid)
        return;
    kill(server->pid, SIGCONT);
    kill(server->pid, SIGKILL);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    server->pid = 0;
}

/* One turn of the loop, at most msec long. */
static inline void turn(struct loop *loop, unsigned msec)
{
    loop_turn(loop, clock_usec() + msec * MSEC);
}

static inline bool run_until(struct loop *loop, bool (*what)(void *arg), void *arg, unsigned msec)
{
    uint64_t end = clock_usec() + msec * MSEC;
    while (!what(arg)) {
        if (clock_usec() >= end)
            return false;
        turn(loop, 5);
    }
    return true;
}

static inline void run_for(struct loop *loop, unsigned msec)
{
    uint64_t end = clock_usec() + msec * MSEC;
    while (clock_usec() < end)
        turn(loop, 5);
}
