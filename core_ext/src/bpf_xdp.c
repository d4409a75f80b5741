/* SPDX-License-Identifier: Apache-2.0 */
/* XDP programs put on interfaces and taken off, by netlink: they stay when their process dies. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fx/bpf_abi.h"
#include "fx/error.h"

#define GATE "fortress_gate"

/* Opens the program that is on the interface: 0 = there is none, else its fd, name and flags. */
static int open_attached(int ifindex, struct bpf_prog_info *info, uint32_t *mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	uint32_t size = sizeof(*info), id;
	int code = bpf_xdp_query(ifindex, 0, &query), fd;

	memset(info, 0, sizeof(*info));
	if (code < 0)
		return code;
	id = query.prog_id     ? query.prog_id :
	     query.drv_prog_id ? query.drv_prog_id :
				 query.skb_prog_id;
	*mode = query.attach_mode == XDP_ATTACHED_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	if (!id)
		return 0;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, info, &size) < 0) {
		code = -errno;
		close(fd);
		return code;
	}
	return fd;
}

/* 0 if the interface carries Ethernet frames; its name for messages. */
static int ethernet_only(int ifindex, char *name)
{
	struct ifreq request = { 0 };
	int code = 0, family, fd;

	if (ifindex < 1 || !if_indextoname((unsigned int)ifindex, name))
		return fx_fail(-ENODEV, "no interface with index %d here", ifindex);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fx_fail(-errno, "%s: no socket to ask with", name);
	memcpy(request.ifr_name, name, IFNAMSIZ);
	if (ioctl(fd, SIOCGIFHWADDR, &request) < 0)
		code = -errno;
	close(fd);
	family = request.ifr_hwaddr.sa_family;
	if (code)
		return fx_fail(code, "%s: %s", name, strerror(-code));
	if (family != ARPHRD_ETHER)
		return fx_fail(
			-EOPNOTSUPP,
			"%s carries no Ethernet frames (hardware type %d): no XDP gate there", name,
			family);
	return 0;
}

static uint32_t id_of(int program_fd, char *name)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0)
		return 0;
	memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	return info.id;
}

/* Whether a program is a gate, this build's or another's, for one way or for both. */
static int is_gate(const char *name)
{
	return strncmp(name, GATE, strlen(GATE)) == 0;
}

static int replace(int program_fd, int ifindex, int old_fd, uint32_t mode, const char *name)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = old_fd);
	int code = bpf_xdp_attach(ifindex, program_fd, mode | XDP_FLAGS_REPLACE, &options);

	if (code)
		return fx_fail(code, "%s: taking the gate over: %s", name, strerror(-code));
	return mode == XDP_FLAGS_SKB_MODE ? FX_XDP_GENERIC : FX_XDP_NATIVE;
}

static int attach_first(int program_fd, int ifindex, const char *name)
{
	uint32_t once = XDP_FLAGS_UPDATE_IF_NOEXIST;
	int native = bpf_xdp_attach(ifindex, program_fd, once | XDP_FLAGS_DRV_MODE, NULL), code;

	if (native == 0)
		return FX_XDP_NATIVE;
	if (native == -EPERM)
		return fx_fail(native, "%s: may not attach an XDP program", name);
	code = bpf_xdp_attach(ifindex, program_fd, once | XDP_FLAGS_SKB_MODE, NULL);
	if (code == 0)
		return FX_XDP_GENERIC;
	return fx_fail(code, "%s: neither its driver (%s) nor the kernel (%s) takes an XDP program",
		       name, strerror(-native), strerror(-code));
}

int fx_xdp_attach(int program_fd, int ifindex, int take_over)
{
	char name[IFNAMSIZ] = "", mine[BPF_OBJ_NAME_LEN] = "";
	struct bpf_prog_info there;
	uint32_t mode = 0, id = id_of(program_fd, mine);
	int code = ethernet_only(ifindex, name), old_fd;

	if (code)
		return code;
	old_fd = open_attached(ifindex, &there, &mode);
	if (old_fd < 0)
		return fx_fail(old_fd, "%s: asking for its XDP program: %s", name,
			       strerror(-old_fd));
	if (!old_fd)
		return attach_first(program_fd, ifindex, name);
	if (there.id == id)
		code = mode == XDP_FLAGS_SKB_MODE ? FX_XDP_GENERIC : FX_XDP_NATIVE;
	else if (!is_gate(there.name))
		code = fx_fail(-EBUSY, "%s has another's XDP program %s (id %u)", name, there.name,
			       there.id);
	else if (!take_over)
		code = fx_fail(-EBUSY, "%s has another gate (%s, id %u)", name, there.name,
			       there.id);
	else
		code = replace(program_fd, ifindex, old_fd, mode, name);
	close(old_fd);
	return code;
}

int fx_xdp_detach(int program_fd, int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = program_fd);
	struct bpf_prog_info there;
	uint32_t mode = 0;
	char mine[BPF_OBJ_NAME_LEN];
	int fd = open_attached(ifindex, &there, &mode), code;

	if (fd < 0)
		return fx_fail(fd, "interface %d: %s", ifindex, strerror(-fd));
	if (fd)
		close(fd);
	if (!fd || there.id != id_of(program_fd, mine))
		return fx_fail(-ENOENT, "interface %d has no XDP program of this gate", ifindex);
	code = bpf_xdp_detach(ifindex, mode | XDP_FLAGS_REPLACE, &options);
	return code ? fx_fail(code, "interface %d: %s", ifindex, strerror(-code)) : 0;
}
