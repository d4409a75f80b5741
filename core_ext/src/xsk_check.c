/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the kernel does anything with an interface's packets, by rtnetlink: then AF_XDP may not take them away. */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fx/abi.h"
#include "fx/error.h"

enum { ANSWER_BYTES = 64 << 10, ANSWERS_MAX = 1 << 20, TYPES_MAX = 64, TYPE_BITS = 0x3fff };

struct look {
	const char *interface;
	int ifindex;
	int code; /* 0 until there is something that the kernel does */
};

/* Attributes by their type. */
struct attributes {
	const struct rtattr *of[TYPES_MAX];
};

static void split(const void *at, size_t bytes, struct attributes *out)
{
	const uint8_t *octets = at;

	memset(out, 0, sizeof(*out));
	while (bytes >= sizeof(struct rtattr)) {
		const struct rtattr *a = (const void *)octets;
		size_t step = RTA_ALIGN((size_t)a->rta_len), type = a->rta_type & TYPE_BITS;

		if (a->rta_len < sizeof(*a) || a->rta_len > bytes)
			return;
		if (type < TYPES_MAX)
			out->of[type] = a;
		if (step >= bytes)
			return;
		octets += step;
		bytes -= step;
	}
}

static int number(const struct attributes *a, int type)
{
	int value = 0;

	if (a->of[type] && RTA_PAYLOAD(a->of[type]) >= sizeof(value))
		memcpy(&value, RTA_DATA(a->of[type]), sizeof(value));
	return value;
}

/* The other end of a pair names us as well, but takes no packets off us. */
static int is_pair(const struct attributes *link)
{
	struct attributes info;
	const struct rtattr *kind;

	if (!link->of[IFLA_LINKINFO])
		return 0;
	split(RTA_DATA(link->of[IFLA_LINKINFO]), RTA_PAYLOAD(link->of[IFLA_LINKINFO]), &info);
	kind = info.of[IFLA_INFO_KIND];
	return kind && (!strncmp(RTA_DATA(kind), "veth", RTA_PAYLOAD(kind)) ||
			!strncmp(RTA_DATA(kind), "netkit", RTA_PAYLOAD(kind)));
}

static void look_at_link(const struct nlmsghdr *h, struct look *look)
{
	const struct ifinfomsg *link = NLMSG_DATA(h);
	struct attributes a;
	char name[IF_NAMESIZE] = "?";

	split(IFLA_RTA(link), IFLA_PAYLOAD(h), &a);
	if (a.of[IFLA_IFNAME])
		snprintf(name, sizeof(name), "%.*s", (int)RTA_PAYLOAD(a.of[IFLA_IFNAME]),
			 (const char *)RTA_DATA(a.of[IFLA_IFNAME]));
	if (link->ifi_index != look->ifindex) {
		if (number(&a, IFLA_LINK) == look->ifindex && !a.of[IFLA_LINK_NETNSID] &&
		    !is_pair(&a))
			look->code = fx_fail(-EBUSY, "%s carries the packets of %s",
					     look->interface, name);
		return;
	}
	if (link->ifi_type != ARPHRD_ETHER)
		look->code =
			fx_fail(-EPFNOSUPPORT, "%s carries no Ethernet frames", look->interface);
	else if (number(&a, IFLA_MASTER))
		look->code = fx_fail(-EBUSY, "%s is a port of a bridge, bond or switch",
				     look->interface);
}

static void look_at_address(const struct nlmsghdr *h, struct look *look)
{
	const struct ifaddrmsg *address = NLMSG_DATA(h);

	if ((int)address->ifa_index == look->ifindex)
		look->code = fx_fail(-EBUSY, "%s has an IPv%d address", look->interface,
				     address->ifa_family == AF_INET6 ? 6 : 4);
}

static void look_at_route(const struct nlmsghdr *h, struct look *look)
{
	const struct rtmsg *route = NLMSG_DATA(h);
	struct attributes a;
	const struct rtnexthop *hop;
	int left, goes;

	split(RTM_RTA(route), RTM_PAYLOAD(h), &a);
	goes = number(&a, RTA_OIF) == look->ifindex;
	if (a.of[RTA_MULTIPATH]) {
		hop = RTA_DATA(a.of[RTA_MULTIPATH]);
		left = (int)RTA_PAYLOAD(a.of[RTA_MULTIPATH]);
		for (; left >= (int)sizeof(*hop) && RTNH_OK(hop, left);) {
			goes |= hop->rtnh_ifindex == look->ifindex;
			left -= RTNH_ALIGN(hop->rtnh_len);
			hop = RTNH_NEXT(hop);
		}
	}
	if (goes)
		look->code = fx_fail(-EBUSY, "%s has an IPv%d route", look->interface,
				     route->rtm_family == AF_INET6 ? 6 : 4);
}

static int receive(int fd, struct look *look, void (*see)(const struct nlmsghdr *, struct look *))
{
	static const char unclear[] = "%s: cannot read what the kernel does with it: %s";
	union {
		struct nlmsghdr header;
		char octets[ANSWER_BYTES];
	} answer;

	for (int i = 0; i < ANSWERS_MAX; i++) {
		ssize_t size = recv(fd, &answer, sizeof(answer), 0);
		const struct nlmsghdr *h = &answer.header;

		if (size < 0)
			return fx_fail(-errno, unclear, look->interface, strerror(errno));
		for (unsigned int left = (unsigned int)size; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return look->code;
			if (h->nlmsg_type == NLMSG_ERROR)
				return fx_fail(-EIO, unclear, look->interface, "refused");
			if (look->code == 0)
				see(h, look);
		}
	}
	return fx_fail(-EIO, unclear, look->interface, "no end");
}

static int dump(int fd, struct look *look, int type, size_t bytes,
		void (*see)(const struct nlmsghdr *, struct look *))
{
	struct {
		struct nlmsghdr header;
		char zeros[32]; /* whose addresses, routes or links: everybody's */
	} ask;

	memset(&ask, 0, sizeof(ask));
	ask.header.nlmsg_len = (unsigned int)NLMSG_LENGTH(bytes);
	ask.header.nlmsg_type = (unsigned short)type;
	ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (send(fd, &ask, ask.header.nlmsg_len, 0) < 0)
		return fx_fail(-errno, "%s: cannot ask rtnetlink: %s", look->interface,
			       strerror(errno));
	return receive(fd, look, see);
}

int fx_xsk_check(const char *interface)
{
	struct look look = { interface, (int)if_nametoindex(interface), 0 };
	int fd, code;

	if (look.ifindex == 0)
		return fx_fail(-ENODEV, "%s: there is no such interface", interface);
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return fx_fail(-errno, "cannot open rtnetlink: %s", strerror(errno));
	code = dump(fd, &look, RTM_GETLINK, sizeof(struct ifinfomsg), look_at_link);
	if (code == 0)
		code = dump(fd, &look, RTM_GETADDR, sizeof(struct ifaddrmsg), look_at_address);
	if (code == 0)
		code = dump(fd, &look, RTM_GETROUTE, sizeof(struct rtmsg), look_at_route);
	close(fd);
	return code;
}
