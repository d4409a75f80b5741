/* SPDX-License-Identifier: Apache-2.0 */
/* AF_PACKET sockets: made whole and bound, which needs CAP_NET_RAW; and what their interfaces do meanwhile. */
#include "packet_port.h"

#include <net/if.h> /* before linux/if_arp.h, whose own definitions then stay out */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fx/error.h"
#include "fx/parse_link.h"
#include "ring.h"

/* The link type of frames of an interface, by its hardware type; -1 = not understood. */
static int linktype_of(unsigned int hardware)
{
	switch (hardware) {
	case ARPHRD_ETHER: /* Wi-Fi as a station or an access point too */
	case ARPHRD_LOOPBACK:
		return FX_LINKTYPE_ETHERNET;
	case ARPHRD_PPP: /* the kernel shows what is inside PPP */
	case ARPHRD_NONE:
	case ARPHRD_RAWIP:
	case ARPHRD_TUNNEL:
	case ARPHRD_TUNNEL6:
	case ARPHRD_SIT:
		return FX_LINKTYPE_RAW;
	default:
		return -1;
	}
}

static const char *hardware_words(unsigned int hardware)
{
	switch (hardware) {
	case ARPHRD_IEEE80211:
	case ARPHRD_IEEE80211_PRISM:
	case ARPHRD_IEEE80211_RADIOTAP:
		return "is in monitor mode";
	case ARPHRD_INFINIBAND:
		return "is InfiniBand";
	case ARPHRD_IPGRE:
	case ARPHRD_IP6GRE:
		return "is a GRE tunnel";
	default:
		return "is of a kind that is not understood";
	}
}

static int read_interface(int fd, fx_packet_port *port)
{
	struct ifreq request;
	int linktype;

	memset(&request, 0, sizeof(request));
	memcpy(request.ifr_name, port->interface, sizeof(request.ifr_name));
	if (ioctl(fd, SIOCGIFINDEX, &request) < 0)
		return fx_fail(-ENODEV, "%s: there is no such interface", port->interface);
	port->ifindex = request.ifr_ifindex;
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		return fx_fail(-ENODEV, "%s: went away", port->interface);
	linktype = linktype_of(request.ifr_hwaddr.sa_family);
	if (linktype < 0)
		return fx_fail(-EPFNOSUPPORT, "%s: %s (ARPHRD %u)", port->interface,
			       hardware_words(request.ifr_hwaddr.sa_family),
			       request.ifr_hwaddr.sa_family);
	port->linktype = (uint32_t)linktype;
	return 0;
}

static int set(int fd, int option, const void *value, size_t size, const char *what,
	       const fx_packet_port *port)
{
	if (setsockopt(fd, SOL_PACKET, option, value, (socklen_t)size) == 0)
		return 0;
	return fx_fail(-errno, "%s: %s: %s", port->interface, what, strerror(errno));
}

static int make_ring(int fd, const fx_packet_port *port)
{
	const int version = TPACKET_V3, headers = 1;
	struct tpacket_req3 ring = {
		.tp_block_size = FX_RING_BLOCK_BYTES,
		.tp_block_nr = (unsigned int)(port->ring_bytes / FX_RING_BLOCK_BYTES),
		.tp_frame_size = FX_RING_SNAP_BYTES,
		.tp_frame_nr = (unsigned int)(port->ring_bytes / FX_RING_SNAP_BYTES),
		.tp_retire_blk_tov = FX_RING_RETIRE_MS,
	};
	int code = set(fd, PACKET_VERSION, &version, sizeof(version), "no TPACKET_V3", port);

	if (code == 0)
		code = set(fd, PACKET_VNET_HDR, &headers, sizeof(headers), "no PACKET_VNET_HDR",
			   port);
	if (code == 0)
		code = set(fd, PACKET_RX_RING, &ring, sizeof(ring), "cannot make the ring", port);
	return code;
}

/* What is kept of a frame: `octets` of it; 0 = none. */
static int cut_at(int fd, uint32_t octets, const fx_packet_port *port)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, octets) };
	struct sock_fprog program = { 1, code };

	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0)
		return 0;
	return fx_fail(-errno, "%s: cannot attach the length filter: %s", port->interface,
		       strerror(errno));
}

static int attach_filter(int fd, int filter_fd, const fx_packet_port *port)
{
	if (filter_fd < 0)
		return cut_at(fd, FX_RING_SNAP_BYTES, port);
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &filter_fd, sizeof(filter_fd)) == 0)
		return 0;
	return fx_fail(-errno, "%s: cannot attach BPF program %d as socket filter: %s",
		       port->interface, filter_fd, strerror(errno));
}

int fx_packet_port_filter(const fx_packet_port *port, int filter_fd)
{
	return attach_filter(port->fd, filter_fd, port);
}

static int is_down(int fd, const fx_packet_port *port)
{
	struct ifreq request = { .ifr_flags = 0 };

	memcpy(request.ifr_name, port->interface, sizeof(request.ifr_name));
	return ioctl(fd, SIOCGIFFLAGS, &request) == 0 && !(request.ifr_flags & IFF_UP);
}

/* A new group of rings with a number that the kernel chooses, or the group `fanout`. */
static int join_group(int fd, int64_t fanout, fx_packet_port *port)
{
	const uint32_t mode = PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_DEFRAG;
	uint32_t group = fanout ? (uint32_t)fanout : (mode | PACKET_FANOUT_FLAG_UNIQUEID) << 16;
	socklen_t size = sizeof(port->fanout);
	int code = set(fd, PACKET_FANOUT, &group, sizeof(group),
		       fanout ? "cannot share the packets of the other rings" :
				"cannot begin a group of rings",
		       port);

	if (code == -EINVAL && is_down(fd, port)) /* Linux before 6.13 */
		return fx_fail(-ENETDOWN, "%s: is down, and has no group of rings then",
			       port->interface);
	if (code < 0)
		return code;
	if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &port->fanout, &size) < 0)
		return fx_fail(-errno, "%s: cannot read the group of rings: %s", port->interface,
			       strerror(errno));
	return 0;
}

/*
 * Nothing is let in before all is set, so that no frame is seen twice: neither frames of other interfaces (protocol 0
 * until it is bound) nor frames that another ring of the group has as well.
 */
static int make_whole(int fd, int filter_fd, int64_t fanout, fx_packet_port *port)
{
	struct packet_mreq promiscuous = { .mr_type = PACKET_MR_PROMISC };
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int code = read_interface(fd, port);

	if (code == 0)
		code = make_ring(fd, port);
	if (code == 0)
		code = cut_at(fd, 0, port);
	if (code < 0)
		return code;
	address.sll_ifindex = promiscuous.mr_ifindex = port->ifindex;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return fx_fail(-errno, "%s: cannot bind: %s", port->interface, strerror(errno));
	code = set(fd, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous),
		   "cannot make it promiscuous", port);
	if (code == 0 && fanout >= 0)
		code = join_group(fd, fanout, port);
	if (code == 0)
		code = attach_filter(fd, filter_fd, port);
	return code;
}

int fx_packet_port_open(const char *interface, uint64_t ring_bytes, int filter_fd, int64_t fanout,
			fx_packet_port *out)
{
	fx_packet_port port = { .fd = -1, .ring_bytes = ring_bytes };
	int code;

	if (strlen(interface) == 0 || strlen(interface) >= sizeof(port.interface))
		return fx_fail(-ENODEV, "%s: is no name of an interface", interface);
	memcpy(port.interface, interface, strlen(interface));
	if (ring_bytes < FX_PORT_RING_MIN || ring_bytes > FX_PORT_RING_MAX ||
	    ring_bytes % FX_RING_BLOCK_BYTES)
		return fx_fail(-ERANGE, "%s: a ring of %" PRIu64 " bytes is not possible",
			       interface, ring_bytes);
	port.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (port.fd < 0)
		return fx_fail(-errno, "%s: cannot open a packet socket: %s", interface,
			       strerror(errno));
	code = make_whole(port.fd, filter_fd, fanout, &port);
	if (code < 0)
		close(port.fd);
	else
		*out = port;
	return code;
}

static void say(fx_port_state *state, int alive, const char *format, const char *name)
{
	state->alive = alive;
	snprintf(state->reason, sizeof(state->reason), format, name);
}

void fx_packet_port_look(const fx_packet_port *port, fx_port_state *state)
{
	struct ifreq request;
	struct sockaddr_ll address;
	socklen_t size = sizeof(address);
	int error = 0;
	socklen_t error_size = sizeof(error);

	state->ifindex = port->ifindex;
	/* An interface that was down once leaves an error to be read; the state itself is asked below. */
	getsockopt(port->fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
	memset(&request, 0, sizeof(request));
	request.ifr_ifindex = port->ifindex;
	if (getsockname(port->fd, (struct sockaddr *)&address, &size) < 0 ||
	    address.sll_ifindex != port->ifindex || ioctl(port->fd, SIOCGIFNAME, &request) < 0) {
		say(state, 0, "%s is gone", state->interface);
		return;
	}
	memcpy(state->interface, request.ifr_name, sizeof(state->interface));
	state->interface[sizeof(state->interface) - 1] = 0;
	if (ioctl(port->fd, SIOCGIFFLAGS, &request) < 0)
		say(state, 0, "%s is gone", state->interface);
	else if (!(request.ifr_flags & IFF_UP))
		say(state, 0, "%s is down", state->interface);
	else if (!(request.ifr_flags & IFF_RUNNING))
		say(state, 1, "%s has no carrier", state->interface);
	else if (strcmp(state->interface, port->interface))
		say(state, 1, "was named %s", port->interface);
	else
		say(state, 1, "%s", "");
}
