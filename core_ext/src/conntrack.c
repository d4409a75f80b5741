/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads ctnetlink in batches. The kernel announces a connection before its first packet leaves the machine, so that who
 * has taken a packet from a port and then reads here knows the translation of whatever this machine sent. A whole table
 * is read at the start, after lost events, and now and then: connections that are older than the first listener are
 * never told to have ended.
 */
#define _GNU_SOURCE 1 /* recvmmsg() */
#include "conntrack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "conntrack_message.h"
#include "fx/error.h"

enum {
	BATCH = 16, /* messages, or parts of a table, that one system call brings */
	MESSAGE_BYTES = 16 << 10,
	ROUNDS = 256, /* system calls in a row, at most; */
	TABLE_ROUNDS =
		4, /* of the table alone: some four thousand connections, ten milliseconds; */
	FIRST_READS = 128, /* at the start so many times as many */
	SECOND_NS = 1000000000,
	AGAIN_S = 60, /* how often the whole table is read, ... */
	SILENT_S = 3, /* ... before there was any event, for it may be that there are none, ... */
	SOON_S = 1 /* ... when something is amiss */
};

struct fx_conntrack {
	struct fx_nat_table *mappings;
	const struct fx_inside *inside;
	int fd;
	int may_not_ask; /* it takes CAP_NET_ADMIN: who opened the socket must ask */
	int is_reading; /* a whole table, of which the end has not come */
	int is_table; /* the last system call brought nothing else */
	int is_broken; /* the table changed its size meanwhile: not all of it may have come */
	int is_lossy; /* events were lost since the reading began */
	int is_complete;
	int has_listened; /* to this socket while a whole table was read */
	int has_events;
	fx_i64 now_ns, asked_ns;
	fx_u64 overruns, readings, malformed, unannounced;
	int error;
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	fx_u8 (*octets)[MESSAGE_BYTES];
};

static fx_i64 monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (fx_i64)now.tv_sec * SECOND_NS + now.tv_nsec;
}

static int take_descriptor(struct fx_conntrack *c, int fd)
{
	int protocol = -1, copy;
	socklen_t size = sizeof(protocol);

	if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) < 0 ||
	    protocol != NETLINK_NETFILTER)
		return fx_fail(-EINVAL, "conntrack: descriptor %d is no socket of netfilter", fd);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return fx_fail(-errno, "conntrack: descriptor %d: %s", fd, strerror(errno));
	if (c->fd >= 0)
		close(c->fd);
	c->fd = copy;
	c->may_not_ask = c->is_reading = c->is_complete = c->error = 0;
	c->has_listened = 0;
	c->unannounced = 0;
	c->is_lossy = 1;
	return 0;
}

static void ask(struct fx_conntrack *c)
{
	c->asked_ns = c->now_ns;
	if (!c->may_not_ask)
		fx_conntrack_ask(c->fd);
}

static void read_first(struct fx_conntrack *c)
{
	c->now_ns = monotonic_ns();
	ask(c);
	fx_conntrack_read(c);
	for (int i = 0; i < FIRST_READS && c->is_reading; i++)
		fx_conntrack_read(c);
}

int fx_conntrack_new(int fd, const struct fx_hash_key *key, const struct fx_inside *inside,
		     struct fx_conntrack **out)
{
	struct fx_conntrack *c = calloc(1, sizeof(*c));
	int code;

	*out = NULL;
	if (!c)
		return fx_fail(-ENOMEM, "conntrack: no memory");
	c->fd = -1;
	c->inside = inside;
	c->mappings = fx_nat_table_new(FX_NAT_MAPPINGS, key);
	c->octets = malloc(BATCH * sizeof(*c->octets));
	code = c->mappings && c->octets ? take_descriptor(c, fd) :
					  fx_fail(-ENOMEM, "conntrack: no memory");
	if (code) {
		fx_conntrack_free(c);
		return code;
	}
	read_first(c);
	*out = c;
	return 0;
}

void fx_conntrack_free(struct fx_conntrack *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	fx_nat_table_free(c->mappings);
	free(c->octets);
	free(c);
}

int fx_conntrack_replace(struct fx_conntrack *c, int fd)
{
	int code = take_descriptor(c, fd);

	if (code)
		return code;
	read_first(c);
	return 0;
}

void fx_conntrack_again(struct fx_conntrack *c)
{
	c->asked_ns = c->now_ns - (fx_i64)AGAIN_S * SECOND_NS;
}

fx_u64 fx_conntrack_hairpins(const struct fx_conntrack *c)
{
	struct fx_nat_counts counts;

	fx_nat_counts_read(c->mappings, &counts);
	return counts.hairpins;
}

const struct fx_nat_table *fx_conntrack_mappings(const struct fx_conntrack *c)
{
	return c->mappings;
}

static void take_entry(struct fx_conntrack *c, const struct nlmsghdr *h)
{
	const fx_u8 *at = (const fx_u8 *)h + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	const fx_u8 *end = (const fx_u8 *)h + h->nlmsg_len;
	struct fx_nat_pair pairs[FX_CONNTRACK_PAIRS];
	int count = at > end ? -1 : fx_conntrack_pairs(at, end, c->inside, pairs);

	c->malformed += count < 0;
	for (int i = 0; i < count; i++) {
		if ((h->nlmsg_type & 0xff) == IPCTNL_MSG_CT_DELETE)
			fx_nat_end(c->mappings, &pairs[i], c->now_ns);
		else if (fx_nat_put(c->mappings, &pairs[i]) && h->nlmsg_flags & NLM_F_MULTI)
			c->unannounced += c->has_listened && !c->overruns;
	}
}

static void end_reading(struct fx_conntrack *c)
{
	c->is_reading = 0;
	if (c->is_broken) {
		c->asked_ns = c->now_ns - (fx_i64)(AGAIN_S - SOON_S) * SECOND_NS;
		return;
	}
	fx_nat_sweep(c->mappings, c->now_ns);
	c->readings++;
	c->error = 0;
	c->has_listened = 1;
	c->is_complete = !c->is_lossy;
}

static void take_message(struct fx_conntrack *c, const struct nlmsghdr *h)
{
	if (h->nlmsg_type == NLMSG_ERROR) {
		int code = h->nlmsg_len >= NLMSG_HDRLEN + sizeof(int) ?
				   -*(const int *)NLMSG_DATA(h) :
				   EBADMSG;

		c->may_not_ask |= code == EPERM;
		if (code != EBUSY && code != EPERM)
			c->error = code;
		return;
	}
	c->is_table &= (h->nlmsg_flags & NLM_F_MULTI) != 0;
	if (h->nlmsg_flags & NLM_F_MULTI && !c->is_reading) {
		c->is_reading = 1;
		c->is_broken = c->is_lossy = 0;
		fx_nat_begin_reading(c->mappings);
	}
	c->is_broken |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
	if (h->nlmsg_type == NLMSG_DONE)
		end_reading(c);
	else if (h->nlmsg_type >> 8 == NFNL_SUBSYS_CTNETLINK)
		take_entry(c, h);
	c->has_events |= h->nlmsg_type >> 8 == NFNL_SUBSYS_CTNETLINK &&
			 !(h->nlmsg_flags & NLM_F_MULTI);
}

static void take_octets(struct fx_conntrack *c, const fx_u8 *at, fx_u32 left)
{
	while (left >= NLMSG_HDRLEN) {
		const struct nlmsghdr *h = (const void *)at;
		fx_u32 step = NLMSG_ALIGN(h->nlmsg_len);

		if (h->nlmsg_len < NLMSG_HDRLEN || h->nlmsg_len > left) {
			c->malformed++;
			return;
		}
		take_message(c, h);
		if (step >= left)
			return;
		at += step;
		left -= step;
	}
}

/* What one system call brings: how many messages, or -errno. */
static int take_batch(struct fx_conntrack *c)
{
	int count;

	for (int i = 0; i < BATCH; i++) {
		c->parts[i] = (struct iovec){ c->octets[i], MESSAGE_BYTES };
		c->messages[i].msg_hdr =
			(struct msghdr){ .msg_iov = &c->parts[i], .msg_iovlen = 1 };
	}
	c->is_table = 1;
	count = recvmmsg(c->fd, c->messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++) {
		if (c->messages[i].msg_hdr.msg_flags & MSG_TRUNC)
			c->malformed++;
		else
			take_octets(c, c->octets[i], c->messages[i].msg_len);
	}
	return count < 0 ? -errno : count;
}

/* Whether it is time for the whole table. */
static int is_due(const struct fx_conntrack *c)
{
	int seconds = c->has_events ? AGAIN_S : c->unannounced ? SOON_S : SILENT_S;

	if (c->is_lossy || !c->is_complete)
		seconds = SOON_S;
	return !c->is_reading && c->now_ns - c->asked_ns >= (fx_i64)seconds * SECOND_NS;
}

/*
 * The table comes in parts, each of which the kernel makes when the one before has been read, and events lie between
 * them. So when there was nothing but the table, all events that were there at the call have been read.
 */
void fx_conntrack_read(struct fx_conntrack *c)
{
	int of_table = 0;

	c->now_ns = monotonic_ns();
	for (int i = 0; i < ROUNDS && of_table < TABLE_ROUNDS; i++) {
		int count = take_batch(c);

		if (count == -ENOBUFS) { /* the queue was full: what came then is lost */
			c->overruns++;
			c->is_lossy = 1;
			c->is_complete = 0;
		} else if (count < BATCH) {
			break;
		}
		of_table += c->is_table;
	}
	fx_nat_expire(c->mappings, c->now_ns);
	if (is_due(c))
		ask(c);
}

void fx_conntrack_stats(const struct fx_conntrack *c, fx_nat_stats *out)
{
	struct fx_nat_counts counts;
	const char *reason = "";

	fx_nat_counts_read(c->mappings, &counts);
	out->mappings = counts.mappings;
	out->added = counts.added;
	out->ended = counts.ended;
	out->refused = counts.refused;
	out->overruns = c->overruns;
	out->readings = c->readings;
	out->malformed = c->malformed;
	if (c->error)
		reason = "the kernel has no table of connections to show";
	else if (!c->is_complete && c->may_not_ask)
		reason = "who opened the conntrack socket must ask for the whole table";
	else if (!c->is_complete)
		reason = "the whole table of connections has not been read";
	else if (c->unannounced && !c->has_events)
		reason = "no events of connections (sysctl net.netfilter.nf_conntrack_events)";
	else if (counts.refused)
		reason = "more translated connections than the table has room for";
	out->is_complete = !*reason;
	snprintf(out->reason, sizeof(out->reason), "%s", reason);
}
