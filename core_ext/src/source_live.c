/* SPDX-License-Identifier: Apache-2.0 */
/* Live sources: how they wait and stop, and what is asked of whichever it is. */
#include "source_live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fx/error.h"
#include "fx/source.h"

enum { WAIT_MS = 20 }; /* for frames; then the stream is told what time it is */

int fx_live_open(struct fx_live *live, int count)
{
	live->count = count;
	live->is_stopping = 0;
	live->stopped_ns = INT64_MAX;
	live->polls = calloc((size_t)count + 1, sizeof(*live->polls));
	live->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!live->polls || live->stop_fd < 0)
		return -ENOMEM;
	for (int i = 0; i <= count; i++)
		live->polls[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
	return 0;
}

void fx_live_close(struct fx_live *live)
{
	if (live->stop_fd >= 0)
		close(live->stop_fd);
	free(live->polls);
}

void fx_live_stop(struct fx_live *live)
{
	const uint64_t one = 1;
	int running = 0;

	__atomic_compare_exchange_n(&live->is_stopping, &running, 1, 0, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
	if (write(live->stop_fd, &one, sizeof(one)) < 0)
		return; /* it counts to 2^64: the reader has enough to wake up for */
}

void fx_live_look(struct fx_live *live, int64_t now_ns)
{
	if (__atomic_load_n(&live->is_stopping, __ATOMIC_ACQUIRE) != 1)
		return;
	live->stopped_ns = now_ns;
	live->is_stopping = 2;
}

int fx_live_wait(struct fx_live *live, const char *what)
{
	live->polls[live->count].fd = live->is_stopping == 2 ? -1 : live->stop_fd;
	if (poll(live->polls, (nfds_t)live->count + 1, WAIT_MS) < 0 && errno != EINTR)
		return fx_fail(-errno, "cannot wait for %s: %s", what, strerror(errno));
	return 0;
}

int fx_source_ports(fx_source *source, fx_port_state *out, int capacity)
{
	return source->ops->ports ? source->ops->ports(source, out, capacity) : 0;
}

void fx_source_stop(fx_source *source)
{
	if (source->ops->stop)
		source->ops->stop(source);
}
