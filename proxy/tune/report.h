/* report.h - what a survey found, as the documents of tune.h. No I/O.
 * Owner: who owns the survey. */
#pragma once

#include <stdint.h>

struct cJSON;
struct survey;

struct cJSON *report_plan(const struct survey *, uint64_t points);
struct cJSON *report_memory(const struct survey *);
