/* name.h - a name as tables and keys know it: 128 bits of it. Two names that share them share tokens and
 * holds: that invalidates too much, never too little. A value; any thread. */
#pragma once

#include <stdint.h>

#include "base/str.h"

struct name_id {
    uint64_t hi, lo;
};

struct name_id name_id_of(struct str name);
