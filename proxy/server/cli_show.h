/* cli_show.h - documents of the control API as tables for people. */
#pragma once

#include <stdio.h>

struct cJSON;

void show_plan(const struct cJSON *doc, FILE *);
void show_deed(const struct cJSON *result, FILE *); /* of an apply or a rollback */
void show_test(const struct cJSON *result, FILE *); /* every object with "ops" is a row */
void show_progress(const struct cJSON *job, FILE *, int tty,
                   char last[256]); /* last: what was shown before */
