/* cli.h - quiver plan, apply, rollback, test, health, ready: small clients of the control port of the quiver
 * that runs. A process of their own, blocking; nothing of it runs inside the server. */
#pragma once

#include <stdbool.h>

bool cli_wants(const char *word); /* is argv[1] one of these commands? word may be NULL */
int cli_main(int argc,
             char **argv); /* exit code: 0 well, 1 it failed, was refused or a model could not be tested,
                                  * 2 usage, 3 no quiver answers, 4 a target is missed (test --strict) */
