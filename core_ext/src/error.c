/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the last error, one buffer for each thread. */
#include "fx/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "fx/abi.h"

static _Thread_local char words[1024];

int fx_fail(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	return code;
}

const char *fx_last_error(void)
{
	return words;
}
