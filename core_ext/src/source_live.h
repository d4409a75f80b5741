/* SPDX-License-Identifier: Apache-2.0 */
/* What live sources have in common: they wait for descriptors, and any thread may stop them. */
#ifndef FX_SOURCE_LIVE_H
#define FX_SOURCE_LIVE_H
#include <poll.h>
#include <stdint.h>

struct fx_live {
	struct pollfd *polls; /* of what is waited for (fd -1: it is not), and the event last */
	int count;
	int stop_fd;
	int is_stopping; /* 1 when it was asked for, 2 when that has been seen */
	int64_t stopped_ns; /* monotonic; what came until then is still handed out */
};

/* 0, or -errno without words; fx_live_close() is for both. */
int fx_live_open(struct fx_live *live, int count);
void fx_live_close(struct fx_live *live);

/* Has whoever waits look whether it was stopped; for any thread. */
void fx_live_stop(struct fx_live *live);

/* Notes when it was stopped. */
void fx_live_look(struct fx_live *live, int64_t now_ns);

/* Waits a little for polls[0..count-1]: 0 or -errno; `what` is for the words. */
int fx_live_wait(struct fx_live *live, const char *what);

/* Whether something is wrong with a descriptor that was waited for. */
static inline int fx_live_is_odd(const struct fx_live *live, int number)
{
	return live->polls[number].fd >= 0 && live->polls[number].revents & ~POLLIN;
}

#endif
