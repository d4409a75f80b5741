/* SPDX-License-Identifier: Apache-2.0 */
/* Which interfaces show the same packets, by rtnetlink. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fx/error.h"
#include "packet_port.h"

enum { ANSWER_BYTES = 32 << 10, PORTS_MAX = 64 };

struct link {
	char name[16];
	int master; /* of a bridge's or a bond's port, 0 = none */
	int lower; /* what the packets of a VLAN and the like go through; of a veth its other end */
};

static void read_attributes(const struct nlmsghdr *message, struct link *out)
{
	const uint8_t *at = (const uint8_t *)message + NLMSG_SPACE(sizeof(struct ifinfomsg));
	const uint8_t *end = (const uint8_t *)message + message->nlmsg_len;
	int elsewhere = 0;

	while (at + sizeof(struct rtattr) <= end) {
		const struct rtattr *a = (const void *)at;
		size_t size;

		if (a->rta_len < sizeof(*a) || a->rta_len > end - at)
			break;
		size = a->rta_len - sizeof(*a);
		if (a->rta_type == IFLA_IFNAME && size <= sizeof(out->name))
			memcpy(out->name, a + 1, size);
		else if (a->rta_type == IFLA_MASTER && size == sizeof(out->master))
			memcpy(&out->master, a + 1, size);
		else if (a->rta_type == IFLA_LINK && size == sizeof(out->lower))
			memcpy(&out->lower, a + 1, size);
		else if (a->rta_type == IFLA_LINK_NETNSID)
			elsewhere = 1;
		at += RTA_ALIGN(a->rta_len);
	}
	if (elsewhere)
		out->lower = 0;
}

/*
 * What the kernel knows of a port's interface. One that went away meanwhile shares nothing, and of one in another
 * namespace than ours, where its number is another interface's, nothing can be said.
 */
static int read_link(int fd, const fx_packet_port *port, struct link *out)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} ask = {
		.header = { .nlmsg_len = sizeof(ask),
			    .nlmsg_type = RTM_GETLINK,
			    .nlmsg_flags = NLM_F_REQUEST },
		.info = { .ifi_index = port->ifindex },
	};
	union {
		struct nlmsghdr header;
		uint8_t octets[ANSWER_BYTES];
	} answer;
	ssize_t size;

	*out = (struct link){ .name = "" };
	if (send(fd, &ask, sizeof(ask), 0) < 0)
		return -errno;
	size = recv(fd, &answer, sizeof(answer), 0);
	if (size < 0)
		return -errno;
	if (NLMSG_OK(&answer.header, (size_t)size) && answer.header.nlmsg_type == RTM_NEWLINK)
		read_attributes(&answer.header, out);
	if (strncmp(out->name, port->interface, sizeof(out->name)))
		*out = (struct link){ .name = "" };
	return 0;
}

static int refuse(const fx_packet_port *a, const fx_packet_port *b, const char *why)
{
	return fx_fail(-EEXIST, "%s and %s: %s: each packet would be seen twice", a->interface,
		       b->interface, why);
}

static int check_pair(const fx_packet_port *a, const struct link *la, const fx_packet_port *b,
		      const struct link *lb)
{
	if (a->ifindex == b->ifindex) {
		if (a->fanout && a->fanout == b->fanout)
			return 0;
		return refuse(a, b, "one interface, and not one group of rings");
	}
	if (la->master == b->ifindex || lb->master == a->ifindex)
		return refuse(a, b, "a bridge and a port of it");
	if (la->master && la->master == lb->master)
		return refuse(a, b, "two ports of one bridge");
	if (la->lower == b->ifindex || lb->lower == a->ifindex)
		return refuse(a, b, "the packets of one go through the other");
	return 0;
}

int fx_packet_ports_check(const fx_packet_port *ports, int count)
{
	struct link links[PORTS_MAX];
	int code = 0, fd;

	if (count < 1 || count > PORTS_MAX)
		return fx_fail(-EINVAL, "%d ports: a stream has 1 to %d", count, PORTS_MAX);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return fx_fail(-errno, "cannot open rtnetlink: %s", strerror(errno));
	for (int i = 0; i < count && code == 0; i++) {
		code = read_link(fd, &ports[i], &links[i]);
		if (code < 0)
			fx_fail(code, "%s: cannot read the interface: %s", ports[i].interface,
				strerror(-code));
		for (int k = 0; k < i && code == 0; k++)
			code = check_pair(&ports[i], &links[i], &ports[k], &links[k]);
	}
	close(fd);
	return code;
}
