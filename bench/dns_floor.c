/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor of a DNS server: what taking and sending datagrams costs with nothing in between.
 *
 * Datagrams are taken by recvmmsg() in batches of up to 64 and sent back by sendmmsg() with the bit set that makes an
 * answer of a query. A server that reads, looks up and writes cannot cost less.
 *
 *     dns_floor PORT MESSAGES      on 127.0.0.1, port 0 = any; prints the port, and at the end (so many messages, or
 *                                  five seconds without one): messages batches cpu_ns_a_message
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, MESSAGE_BYTES = 1232, IDLE_S = 5, BUFFER_BYTES = 4 << 20 };

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in senders[BATCH];
static unsigned char octets[BATCH][MESSAGE_BYTES];

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static void ready(void)
{
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ octets[i], MESSAGE_BYTES };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &senders[i],
						       .msg_namelen = sizeof(senders[i]),
						       .msg_iov = &parts[i],
						       .msg_iovlen = 1 };
	}
}

static int open_socket(const char *port)
{
	struct sockaddr_in here = { .sin_family = AF_INET,
				    .sin_port = htons((unsigned short)atoi(port)),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval idle = { .tv_sec = IDLE_S };
	socklen_t length = sizeof(here);
	int bytes = BUFFER_BYTES, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0 ||
	    bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    getsockname(fd, (struct sockaddr *)&here, &length) < 0)
		return -1;
	printf("%u\n", ntohs(here.sin_port));
	fflush(stdout);
	return fd;
}

/* Sends back what came; how many, or -1. */
static int echo(int fd, int count)
{
	int sent = 0;

	for (int i = 0; i < count; i++) {
		parts[i].iov_len = messages[i].msg_len;
		octets[i][2] |= 0x80; /* QR */
	}
	while (sent < count) {
		int now = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);

		if (now < 0)
			return -1;
		sent += now;
	}
	return sent;
}

int main(int argc, char **argv)
{
	unsigned long wanted, done = 0, batches = 0;
	struct timespec cpu;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: dns_floor PORT MESSAGES\n");
		return 2;
	}
	wanted = strtoul(argv[2], NULL, 10);
	fd = open_socket(argv[1]);
	if (fd < 0)
		return fail("dns_floor: socket");
	while (done < wanted) {
		int count;

		ready();
		count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (count < 0 || echo(fd, count) < 0)
			return fail("dns_floor");
		done += (unsigned long)count;
		batches++;
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	printf("%lu %lu %.0f\n", done, batches,
	       done ? ((double)cpu.tv_sec * 1e9 + (double)cpu.tv_nsec) / (double)done : 0.0);
	return 0;
}
