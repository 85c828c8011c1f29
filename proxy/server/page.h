/* page.h - what the metrics page asks of the whole server when it is made: readiness, upstream servers, the
 * models' targets, drift. Owner and thread: the control thread, which makes the page. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct tune;
struct worker;

/* All of them live until page_close. */
void page_open(const struct worker *control, const struct tune *, bool (*ready)(struct str *why, void *arg));
void page_close(void);
