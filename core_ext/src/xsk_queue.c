/* SPDX-License-Identifier: Apache-2.0 */
/* The rings and the memory of an AF_XDP socket, mapped, which needs no capability. */
#include "xsk_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fx/error.h"
#include "fx/xsk_stamp.h"

void fx_xsk_give_back(struct fx_xsk_queue *q, uint64_t place)
{
	uint64_t *places = q->fill.entries;

	places[q->fill.at++ & q->fill.mask] = place & ~(uint64_t)(q->port.frame_bytes - 1);
}

void fx_xsk_publish(struct fx_xsk_queue *q)
{
	__atomic_store_n(q->fill.producer, q->fill.at, __ATOMIC_RELEASE);
	if (__atomic_load_n(q->fill.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP)
		recvfrom(q->port.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

const struct xdp_desc *fx_xsk_head(const struct fx_xsk_queue *q)
{
	const struct xdp_desc *frames = q->frames.entries;

	return &frames[q->frames.at & q->frames.mask];
}

int fx_xsk_is_whole(const struct fx_xsk_queue *q, const struct xdp_desc *d)
{
	uint64_t in_place = d->addr & (q->port.frame_bytes - 1);

	return d->addr < q->memory_bytes && in_place >= sizeof(struct fx_xsk_stamp) &&
	       in_place + d->len <= q->port.frame_bytes;
}

static void say(fx_port_state *state, int alive, const char *words)
{
	state->alive = alive;
	snprintf(state->reason, sizeof(state->reason), "%s%s", *words ? state->interface : "",
		 words);
}

void fx_xsk_look(struct fx_xsk_queue *q)
{
	struct xdp_statistics counted = { 0 };
	socklen_t size = sizeof(counted);
	struct ifreq request;

	if (getsockopt(q->port.fd, SOL_XDP, XDP_STATISTICS, &counted, &size) == 0) {
		q->state.drops = q->drops_before + counted.rx_dropped + counted.rx_ring_full;
		q->state.freezes = q->freezes_before + counted.rx_fill_ring_empty_descs;
	}
	memset(&request, 0, sizeof(request));
	request.ifr_ifindex = q->port.ifindex;
	if (ioctl(q->port.look_fd, SIOCGIFNAME, &request) < 0) {
		say(&q->state, 0, " is gone");
		return;
	}
	memcpy(q->state.interface, request.ifr_name, sizeof(q->state.interface));
	if (ioctl(q->port.look_fd, SIOCGIFFLAGS, &request) < 0 || !(request.ifr_flags & IFF_UP))
		say(&q->state, 0, " is down");
	else if (!(request.ifr_flags & IFF_RUNNING))
		say(&q->state, 1, " has no carrier");
	else
		say(&q->state, 1, "");
}

static void unmap(struct fx_xsk_ring *ring)
{
	if (ring->memory)
		munmap(ring->memory, ring->bytes);
}

void fx_xsk_unmap(struct fx_xsk_queue *q)
{
	unmap(&q->fill);
	unmap(&q->frames);
	if (q->memory)
		munmap(q->memory, q->memory_bytes);
	if (q->port.fd >= 0)
		close(q->port.fd);
	if (q->port.look_fd >= 0)
		close(q->port.look_fd);
}

static int map_ring(const struct fx_xsk_queue *q, const struct xdp_ring_offset *at,
		    size_t entry_bytes, off_t offset, struct fx_xsk_ring *out)
{
	uint8_t *memory;

	out->bytes = at->desc + q->port.frames * entry_bytes;
	memory = mmap(NULL, out->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		      q->port.fd, offset);
	if (memory == MAP_FAILED && errno == EBUSY) /* it is bound: by whoever read it */
		return fx_fail(-EALREADY, "%s: queue %u has been read before", q->port.interface,
			       q->port.queue);
	if (memory == MAP_FAILED)
		return fx_fail(-errno, "%s: cannot map its rings: %s", q->port.interface,
			       strerror(errno));
	out->memory = memory;
	out->producer = (uint32_t *)(memory + at->producer);
	out->consumer = (uint32_t *)(memory + at->consumer);
	out->flags = (uint32_t *)(memory + at->flags);
	out->entries = memory + at->desc;
	out->mask = q->port.frames - 1;
	return 0;
}

/* The socket takes its queue, without copies where the driver can, and the program knows of it. */
static int bind_queue(const struct fx_xsk_queue *q)
{
	const fx_xsk_port *port = &q->port;
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP,
					.sxdp_flags = XDP_USE_NEED_WAKEUP,
					.sxdp_ifindex = (uint32_t)port->ifindex,
					.sxdp_queue_id = port->queue };
	union bpf_attr a;

	if (bind(port->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return fx_fail(-errno, "%s: cannot bind an AF_XDP socket to queue %u: %s",
			       port->interface, port->queue, strerror(errno));
	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)port->map_fd;
	a.key = (uintptr_t)&port->queue;
	a.value = (uintptr_t)&port->fd;
	if (syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &a, sizeof(a)) < 0)
		return fx_fail(-errno, "%s: cannot give queue %u to its socket: %s",
			       port->interface, port->queue, strerror(errno));
	return 0;
}

int fx_xsk_map(const fx_xsk_port *port, struct fx_xsk_queue *q)
{
	struct xdp_mmap_offsets at;
	socklen_t size = sizeof(at);
	void *memory;
	int code;

	q->port = *port;
	q->port.fd = fcntl(port->fd, F_DUPFD_CLOEXEC, 3);
	q->port.look_fd = fcntl(port->look_fd, F_DUPFD_CLOEXEC, 3);
	memcpy(q->state.interface, port->interface, sizeof(q->state.interface));
	q->state.ifindex = port->ifindex;
	if (q->port.fd < 0 || q->port.look_fd < 0 ||
	    getsockopt(q->port.fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &size) < 0 || size != sizeof(at))
		return fx_fail(-EBADF, "%s: descriptor %d is no AF_XDP socket", port->interface,
			       port->fd);
	q->memory_bytes = (size_t)port->frames * port->frame_bytes;
	memory =
		mmap(NULL, q->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, port->memory_fd, 0);
	if (memory == MAP_FAILED)
		return fx_fail(-errno, "%s: cannot map its frames: %s", port->interface,
			       strerror(errno));
	q->memory = memory;
	code = map_ring(q, &at.fr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_FILL_RING, &q->fill);
	if (code == 0)
		code = map_ring(q, &at.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING, &q->frames);
	if (code < 0)
		return code;
	if (*q->fill.producer)
		return fx_fail(-EALREADY, "%s: queue %u has been read before", port->interface,
			       port->queue);
	for (uint64_t i = 0; i < port->frames; i++)
		fx_xsk_give_back(q, i * port->frame_bytes);
	__atomic_store_n(q->fill.producer, q->fill.at, __ATOMIC_RELEASE);
	code = bind_queue(q);
	fx_xsk_look(q);
	return code;
}
