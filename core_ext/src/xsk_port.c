/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AF_XDP sockets: made whole and bound, which needs CAP_NET_RAW. The memory of the frames is a file without a name, so
 * that whoever gets the descriptors has the frames too.
 */
#define _GNU_SOURCE 1 /* memfd_create() */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fx/abi.h"
#include "fx/error.h"

enum {
	FRAMES_MIN = 64,
	FRAMES_MAX = 1 << 18,
	COMPLETIONS = 64, /* nothing is sent, but the kernel wants the ring */
	SMALL_FRAME = 2048,
	LARGE_FRAME = 4096, /* a page: no frame may be larger in its memory */
	HEADROOM = 256, /* XDP_PACKET_HEADROOM */
	LINK_OCTETS = 22 /* Ethernet and two tags */
};

static int ask(int fd, unsigned long request, struct ifreq *out, const char *interface)
{
	memset(out, 0, sizeof(*out));
	snprintf(out->ifr_name, sizeof(out->ifr_name), "%s", interface);
	return ioctl(fd, request, out) < 0 ? -errno : 0;
}

int fx_xsk_queues(const char *interface)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq request;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), count;

	if (fd < 0)
		return fx_fail(-errno, "%s: %s", interface, strerror(errno));
	memset(&request, 0, sizeof(request));
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	request.ifr_data = (void *)&channels;
	count = ioctl(fd, SIOCETHTOOL, &request) < 0 ? 1 : /* a driver that does not say has one */
			(int)(channels.rx_count + channels.combined_count);
	close(fd);
	return count < 1 ? 1 : count;
}

static int frame_bytes_of(int fd, const char *interface)
{
	struct ifreq request;
	int needed;

	if (ask(fd, SIOCGIFMTU, &request, interface))
		return fx_fail(-ENODEV, "%s: there is no such interface", interface);
	needed = request.ifr_mtu + LINK_OCTETS + HEADROOM;
	if (needed > LARGE_FRAME)
		return fx_fail(-EMSGSIZE, "%s: AF_XDP holds no frames of its MTU of %d", interface,
			       request.ifr_mtu);
	return needed > SMALL_FRAME ? LARGE_FRAME : SMALL_FRAME;
}

int fx_xsk_frame_bytes(const char *interface)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes;

	if (fd < 0)
		return fx_fail(-errno, "%s: %s", interface, strerror(errno));
	bytes = frame_bytes_of(fd, interface);
	close(fd);
	return bytes;
}

/* The interface's number and how much memory a frame of its MTU needs. */
static int read_interface(fx_xsk_port *port)
{
	struct ifreq request;
	int bytes = frame_bytes_of(port->look_fd, port->interface);

	if (bytes < 0)
		return bytes;
	if (ask(port->look_fd, SIOCGIFINDEX, &request, port->interface))
		return fx_fail(-ENODEV, "%s: there is no such interface", port->interface);
	port->frame_bytes = (uint32_t)bytes;
	port->ifindex = request.ifr_ifindex;
	return 0;
}

static int set(const fx_xsk_port *port, int option, const void *value, size_t size)
{
	if (setsockopt(port->fd, SOL_XDP, option, value, (socklen_t)size) == 0)
		return 0;
	return fx_fail(-errno, "%s: AF_XDP option %d: %s", port->interface, option,
		       strerror(errno));
}

static int give_memory(fx_xsk_port *port)
{
	size_t bytes = (size_t)port->frames * port->frame_bytes;
	struct xdp_umem_reg memory = { .len = bytes, .chunk_size = port->frame_bytes };
	void *at;
	int code;

	port->memory_fd = memfd_create("fortress-xsk", MFD_CLOEXEC);
	if (port->memory_fd < 0 || ftruncate(port->memory_fd, (off_t)bytes) < 0)
		return fx_fail(-errno, "%s: memory for frames: %s", port->interface,
			       strerror(errno));
	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, port->memory_fd, 0);
	if (at == MAP_FAILED)
		return fx_fail(-errno, "%s: memory for frames: %s", port->interface,
			       strerror(errno));
	memory.addr = (uintptr_t)at;
	code = setsockopt(port->fd, SOL_XDP, XDP_UMEM_REG, &memory, sizeof(memory));
	if (code < 0) /* the kernel counts locked memory, and says so in this way */
		code = fx_fail(-errno, "%s: cannot lock %zu bytes for frames: %s", port->interface,
			       bytes, strerror(errno));
	munmap(at, bytes); /* the kernel keeps the pages */
	return code;
}

static int make_whole(fx_xsk_port *port)
{
	const uint32_t completions = COMPLETIONS;
	int code = read_interface(port);

	if (code == 0)
		code = give_memory(port);
	if (code == 0)
		code = set(port, XDP_UMEM_FILL_RING, &port->frames, sizeof(port->frames));
	if (code == 0)
		code = set(port, XDP_UMEM_COMPLETION_RING, &completions, sizeof(completions));
	if (code == 0)
		code = set(port, XDP_RX_RING, &port->frames, sizeof(port->frames));
	return code;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		close(fd);
}

int fx_xsk_port_open(const char *interface, uint32_t queue, uint32_t frames, fx_xsk_port *out)
{
	fx_xsk_port port = {
		.fd = -1, .memory_fd = -1, .map_fd = -1, .queue = queue, .frames = frames
	};
	int code;

	if (strlen(interface) == 0 || strlen(interface) >= sizeof(port.interface))
		return fx_fail(-ENODEV, "%s: is no name of an interface", interface);
	memcpy(port.interface, interface, strlen(interface));
	if (frames < FRAMES_MIN || frames > FRAMES_MAX || frames & (frames - 1))
		return fx_fail(-ERANGE, "%s: %u frames are no power of two from %d to %d",
			       interface, frames, FRAMES_MIN, FRAMES_MAX);
	code = fx_xsk_check(interface);
	if (code < 0)
		return code;
	port.look_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	port.fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (port.fd < 0 || port.look_fd < 0)
		code = fx_fail(-errno, "%s: cannot open an AF_XDP socket: %s", interface,
			       strerror(errno));
	else
		code = make_whole(&port);
	if (code < 0) {
		close_if_open(port.fd);
		close_if_open(port.memory_fd);
		close_if_open(port.look_fd);
		return code;
	}
	*out = port;
	return 0;
}

static int bpf(int command, union bpf_attr *attributes)
{
	int result = (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));

	return result < 0 ? -errno : result;
}

static int link_program(int program_fd, int ifindex, uint32_t mode)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (uint32_t)program_fd;
	a.link_create.target_ifindex = (uint32_t)ifindex;
	a.link_create.attach_type = BPF_XDP;
	a.link_create.flags = mode;
	return bpf(BPF_LINK_CREATE, &a);
}

int fx_xsk_attach(const fx_xsk_port *port, int program_fd, int *is_generic)
{
	int link = link_program(program_fd, port->ifindex, XDP_FLAGS_DRV_MODE);

	*is_generic = 0;
	if (link < 0 && link != -EPERM && link != -EBUSY && link != -EEXIST) {
		*is_generic = 1;
		link = link_program(program_fd, port->ifindex, XDP_FLAGS_SKB_MODE);
	}
	if (link == -EBUSY || link == -EEXIST)
		return fx_fail(-EEXIST, "%s has another XDP program", port->interface);
	if (link < 0)
		return fx_fail(link, "%s takes no XDP program: %s", port->interface,
			       strerror(-link));
	return link;
}
