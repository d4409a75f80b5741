/* SPDX-License-Identifier: Apache-2.0 */
/* Switches callgrind's counting on and off from Python: imports need not be counted, nor wait for it. */
#include <valgrind/callgrind.h>

void count_begin(void)
{
	CALLGRIND_START_INSTRUMENTATION;
	CALLGRIND_ZERO_STATS;
}

void count_end(const char *name)
{
	CALLGRIND_DUMP_STATS_AT(name);
	CALLGRIND_STOP_INSTRUMENTATION;
}
