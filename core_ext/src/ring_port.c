/* SPDX-License-Identifier: Apache-2.0 */
#include "ring_port.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fx/error.h"
#include "packet_port.h"

/* Whether the interface shows what it sends to itself a second time. */
static int is_loopback(const fx_packet_port *socket)
{
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	request.ifr_ifindex = socket->ifindex;
	return ioctl(socket->fd, SIOCGIFNAME, &request) == 0 &&
	       ioctl(socket->fd, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_LOOPBACK;
}

void fx_ring_port_shut(struct fx_ring_port *port)
{
	if (port->ring.memory)
		munmap(port->ring.memory, port->socket.ring_bytes);
	if (port->socket.fd >= 0)
		close(port->socket.fd);
	port->ring.memory = NULL;
	port->socket.fd = -1;
}

int fx_ring_port_map(const fx_packet_port *socket, uint16_t iface, struct fx_ring_port *out)
{
	void *memory;

	memset(out, 0, sizeof(*out));
	out->socket = *socket;
	out->socket.interface[sizeof(out->socket.interface) - 1] = 0;
	memcpy(out->state.interface, out->socket.interface, sizeof(out->state.interface));
	out->socket.fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, 3);
	if (out->socket.fd < 0)
		return fx_fail(-errno, "%s: descriptor %d: %s", out->socket.interface, socket->fd,
			       strerror(errno));
	memory = mmap(NULL, socket->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, out->socket.fd,
		      0);
	if (memory == MAP_FAILED) {
		int code = fx_fail(-errno, "%s: cannot map the ring: %s", out->socket.interface,
				   strerror(errno));

		fx_ring_port_shut(out);
		return code;
	}
	out->ring = (struct fx_ring){ .iface = iface, .linktype = (uint16_t)socket->linktype };
	out->ring.skips_outgoing = is_loopback(&out->socket);
	fx_ring_start(&out->ring, memory, (uint32_t)(socket->ring_bytes / FX_RING_BLOCK_BYTES));
	return 0;
}

void fx_ring_port_read_drops(struct fx_ring_port *port)
{
	struct tpacket_stats_v3 counted;
	socklen_t size = sizeof(counted);

	if (getsockopt(port->socket.fd, SOL_PACKET, PACKET_STATISTICS, &counted, &size) < 0)
		return;
	__atomic_fetch_add(&port->state.drops, counted.tp_drops, __ATOMIC_RELAXED);
	__atomic_fetch_add(&port->state.freezes, counted.tp_freeze_q_cnt, __ATOMIC_RELAXED);
}

void fx_ring_port_look(struct fx_ring_port *port)
{
	fx_ring_port_read_drops(port);
	fx_packet_port_look(&port->socket, &port->state);
}
