/* ensure.h - broken invariants end the process, in release builds too. Not for input: bad input is a value. */
#pragma once

_Noreturn void ensure_failed(const char *what, const char *file, int line);

#define ensure(what) ((what) ? (void)0 : ensure_failed(#what, __FILE__, __LINE__))
