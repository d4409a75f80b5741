/* SPDX-License-Identifier: Apache-2.0 */
/* XDP programs put on interfaces and taken off, by netlink: they stay when their process dies. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fx/bpf_abi.h"
#include "fx/error.h"

#define GATE "fortress_gate"

/* What is on an interface: a program's id, 0 = none, and the mode it was attached in. */
static int look(int ifindex, uint32_t *id, uint32_t *mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int code = bpf_xdp_query(ifindex, 0, &query);

	*id = 0;
	*mode = 0;
	if (code < 0)
		return code;
	*id = query.prog_id	? query.prog_id :
	      query.drv_prog_id ? query.drv_prog_id :
				  query.skb_prog_id;
	*mode = query.attach_mode == XDP_ATTACHED_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	return 0;
}

int fx_bpf_program_id(int program_fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0)
		return fx_fail(-errno, "asking for a program's number: %s", strerror(errno));
	return (int)info.id;
}

/* The name of a program by its id; "" where the kernel tells it to nobody but CAP_SYS_ADMIN. */
static void name_of(uint32_t id, char *name)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0)
		return;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
		memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	close(fd);
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

/* Says who is there already. */
static int occupied(const char *interface, uint32_t id)
{
	char name[BPF_OBJ_NAME_LEN + 1] = "";

	name_of(id, name);
	if (strncmp(name, GATE, strlen(GATE)) == 0)
		return fx_fail(-EBUSY, "%s has another gate (XDP program %u)", interface, id);
	return fx_fail(-EBUSY, "%s has another XDP program (%s%s%u)", interface, name,
		       *name ? ", " : "", id);
}

/*
 * Whether native XDP costs the interface its super-frames, while the kernel's own takes them in pieces
 * as they are: the peer of a veth with native XDP stops sending any, and each packet is copied.
 */
static int is_better_generic(const char *name)
{
	struct ethtool_drvinfo driver = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { .ifr_data = (void *)&driver };
	unsigned int major = 0, minor = 0;
	struct utsname kernel;
	int fd, code;

	if (uname(&kernel) < 0 || sscanf(kernel.release, "%u.%u", &major, &minor) != 2 ||
	    major < 6 || (major == 6 && minor < 9))
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	memcpy(request.ifr_name, name, IFNAMSIZ);
	code = ioctl(fd, SIOCETHTOOL, &request);
	close(fd);
	return code == 0 && strcmp(driver.driver, "veth") == 0;
}

static int attach_first(int program_fd, int ifindex, const char *name, int keeps_whole)
{
	uint32_t once = XDP_FLAGS_UPDATE_IF_NOEXIST;
	int native = -EOPNOTSUPP, code;

	if (!keeps_whole || !is_better_generic(name))
		native = bpf_xdp_attach(ifindex, program_fd, once | XDP_FLAGS_DRV_MODE, NULL);
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

int fx_xdp_attach(int program_fd, int ifindex, uint32_t replaced_id, int keeps_whole)
{
	char name[IFNAMSIZ] = "";
	uint32_t id, mode;
	int code = ethernet_only(ifindex, name), mine = fx_bpf_program_id(program_fd);

	if (code || mine < 0)
		return code ? code : mine;
	code = look(ifindex, &id, &mode);
	if (code)
		return fx_fail(code, "%s: asking for its XDP program: %s", name, strerror(-code));
	if (!id)
		return attach_first(program_fd, ifindex, name, keeps_whole);
	if (id != (uint32_t)mine && id != replaced_id)
		return occupied(name, id);
	if (id != (uint32_t)mine)
		code = bpf_xdp_attach(ifindex, program_fd, mode, NULL);
	if (code)
		return fx_fail(code, "%s: taking the place of XDP program %u: %s", name, id,
			       strerror(-code));
	return mode == XDP_FLAGS_SKB_MODE ? FX_XDP_GENERIC : FX_XDP_NATIVE;
}

int fx_xdp_detach(int program_fd, int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = program_fd);
	uint32_t id, mode;
	int mine = fx_bpf_program_id(program_fd), code = look(ifindex, &id, &mode);

	if (code)
		return fx_fail(code, "interface %d: %s", ifindex, strerror(-code));
	if (mine < 0 || id != (uint32_t)mine)
		return fx_fail(-ENOENT, "interface %d has no XDP program of this gate", ifindex);
	code = bpf_xdp_detach(ifindex, mode | XDP_FLAGS_REPLACE, &options);
	return code ? fx_fail(code, "interface %d: %s", ifindex, strerror(-code)) : 0;
}
