/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the last error of this thread, read by fx_last_error(). */
#ifndef FX_ERROR_H
#define FX_ERROR_H

/*
 * Keeps the words (cut at 1023 octets) and returns `code`, which is -errno: `return
 * fx_fail(-ENOENT, "...", path);`
 */
int fx_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
