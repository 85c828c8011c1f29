/* breaks.h - the guarantees that can be taken away, one at a time, to see that the checker in
 * tests/coherence/ finds out: cmake -DQUIVER_BREAK=no_open and so on. Never set in a program that serves. */
#pragma once

enum {
#ifdef QUIVER_BREAK_NO_OPEN
    BREAK_NO_OPEN = 1, /* a write is not announced */
#else
    BREAK_NO_OPEN = 0,
#endif
#ifdef QUIVER_BREAK_NO_CLOSE
    BREAK_NO_CLOSE = 1, /* its hold ends with its answer, whatever that proves */
#else
    BREAK_NO_CLOSE = 0,
#endif
#ifdef QUIVER_BREAK_IGNORE_HOLD
    BREAK_IGNORE_HOLD = 1, /* held names are served and stored */
#else
    BREAK_IGNORE_HOLD = 0,
#endif
#ifdef QUIVER_BREAK_COUNTER_TOKENS
    BREAK_COUNTER_TOKENS = 1, /* tokens in Redis count up instead of being random: lost ones come back */
#else
    BREAK_COUNTER_TOKENS = 0,
#endif
#ifdef QUIVER_BREAK_IGNORE_ALIVE
    BREAK_IGNORE_ALIVE = 1, /* nobody asks whether all members of the roster are connected */
#else
    BREAK_IGNORE_ALIVE = 0,
#endif
#ifdef QUIVER_BREAK_ALIAS_BLIND
    BREAK_ALIAS_BLIND = 1, /* a map of aliases is good for ever; used by engine/reuse.c */
#else
    BREAK_ALIAS_BLIND = 0,
#endif
};
