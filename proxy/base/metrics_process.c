/* What the process and its allocator say about themselves, one answer per row of metrics.def. */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc_stats.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics_private.h"

static struct { /* under the render lock */
    uint64_t started; /* usec */
    struct alloc_stats alloc;
} process;

void metrics_process_refresh(void)
{
    alloc_stats_read(&process.alloc);
}

static void log_lines_dropped(struct metrics_out *out, void *arg)
{
    metrics_emit(out, NULL, (double)log_dropped());
}

static void build(struct metrics_out *out, void *arg)
{
    metrics_emit(out, QUIVER_VERSION, 1);
}

static void uptime(struct metrics_out *out, void *arg)
{
    metrics_emit(out, NULL, (double)(clock_usec() - process.started) / 1e6);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void cpu(struct metrics_out *out, void *arg)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    metrics_emit(out, "user", seconds(usage.ru_utime));
    metrics_emit(out, "system", seconds(usage.ru_stime));
}

static void rss(struct metrics_out *out, void *arg)
{
    unsigned long long total, resident;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return;
    if (fscanf(f, "%llu %llu", &total, &resident) == 2)
        metrics_emit(out, NULL, (double)resident * (double)sysconf(_SC_PAGESIZE));
    fclose(f);
}

static void fds(struct metrics_out *out, void *arg)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    metrics_emit(out, NULL, (double)n - 1); /* without the one that looked */
}

static void figure(struct metrics_out *out, void *value)
{
    metrics_emit(out, NULL, (double)*(const uint64_t *)value);
}

void metrics_process_init(void)
{
    process.started = clock_usec();
    metrics_scrape(MS_LOG_DROPPED, log_lines_dropped, NULL);
    metrics_scrape(MS_BUILD, build, NULL);
    metrics_scrape(MS_UPTIME, uptime, NULL);
    metrics_scrape(MS_CPU, cpu, NULL);
    metrics_scrape(MS_RSS, rss, NULL);
    metrics_scrape(MS_FDS, fds, NULL);
    metrics_scrape(MS_MEM_ALLOCATED, figure, &process.alloc.allocated);
    metrics_scrape(MS_MEM_ACTIVE, figure, &process.alloc.active);
    metrics_scrape(MS_MEM_RESIDENT, figure, &process.alloc.resident);
    metrics_scrape(MS_MEM_MAPPED, figure, &process.alloc.mapped);
    metrics_scrape(MS_MEM_RETAINED, figure, &process.alloc.retained);
    metrics_scrape(MS_MEM_METADATA, figure, &process.alloc.metadata);
}
