/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every verb of the library, as plain declarations that cffi reads as they stand.
 * A new column changes nothing here. Functions return 0 or a count, or -errno; fx_last_error() has the words
 * (thread-local). Lines that begin with '#' are dropped before cffi sees this file.
 */
#ifndef FX_ABI_H
#define FX_ABI_H
#include <stddef.h>
#include <stdint.h>

typedef struct fx_source fx_source;
typedef struct fx_stream fx_stream;
typedef struct fx_batch fx_batch;

enum fx_table { FX_PACKETS = 0, FX_FLOWS = 1, FX_INTERVALS = 2 };

/* A column as the .def row tells it; type is the row's first word. */
typedef struct {
	const char *name;
	const char *type;
	const char *unit;
	const char *meaning;
	uint32_t size_bytes;
} fx_column;

/* What fx_stream_next() returns, OR-ed. */
enum fx_next_flags {
	FX_NEXT_ROWS = 1, /* the batch holds rows */
	FX_NEXT_TICK_CLOSED = 2, /* batch.tick_ns is over: all its rows have been handed out */
	FX_NEXT_END = 4 /* input is over and every flow has been handed out */
};

/*
 * Which packets become rows of the packet table. Control: ARP and neighbour discovery, what is not IP or not
 * understood, ICMP other than echo, DHCP.
 */
enum fx_packet_rows { FX_PACKET_ROWS_NONE = 0, FX_PACKET_ROWS_CONTROL = 1, FX_PACKET_ROWS_ALL = 2 };

/*
 * How many packets of a direction of a flow are looked at; of later ones only plain counters are kept. A power of two, and
 * not below the 32 of a sequence.
 */
enum fx_full_packets { FX_FULL_PACKETS = 128 };

/* What a batch holds, by enum fx_table; filled by fx_stream_next(). */
typedef struct {
	int64_t tick_ns; /* begin of the tick that the rows belong to */
	uint32_t rows[3];
} fx_batch_state;

typedef struct {
	uint64_t flow_budget_bytes; /* all memory of the flow table, index included */
	uint64_t hash_key[2]; /* keyed hash; replay uses a fixed key, live a random one */
	uint64_t idle_timeout_ns; /* 120 s */
	uint64_t active_timeout_ns; /* 1800 s */
	uint64_t tick_ns; /* interval length; ticks lie on multiples of it */
	uint32_t packet_rows; /* enum fx_packet_rows */
	uint32_t keep_sequences; /* 1 = first-32-packet sequences, in a budget of their own */
	uint32_t keep_intervals; /* 1 = fill the interval table */
} fx_stream_options;

typedef struct {
	uint64_t packets, bytes, captured_bytes;
	uint64_t kernel_drops;
	uint64_t flows, flows_active, flows_peak, evictions;
	uint64_t truncated; /* cut by snaplen: normal */
	uint64_t undecodable; /* no IP or ARP understood in it: no flow */
	uint64_t malformed; /* headers contradict themselves */
	uint64_t absurd_lengths; /* wire length 0 or beyond any link */
	uint64_t non_ip; /* understood, but no flow (ARP, LLDP, ...) */
	uint64_t out_of_order, clock_steps;
	uint64_t memory_bytes;
	uint64_t packets_shed; /* of flows that are left out: see fx_stream_sample() */
	int64_t first_ns, last_ns; /* lowest and highest stamp */
} fx_stream_stats;

/* Where a file was damaged; reading went no further in that file. */
typedef struct {
	const char *path;
	uint64_t offset; /* of a compressed file: in what it unpacks to */
	const char *message;
} fx_damage;

enum fx_port_limits { FX_PORT_RING_MIN = 1048576, FX_PORT_RING_MAX = 1073741824 };

/* An AF_PACKET socket, bound to an interface, with its ring; not yet mapped. */
typedef struct {
	int fd;
	int ifindex;
	uint32_t linktype;
	uint32_t fanout; /* what names its group of rings, 0 = none */
	uint64_t ring_bytes;
	char interface[16];
} fx_packet_port;

/* An AF_XDP socket on a queue of an interface, with the memory that its frames are in. */
typedef struct {
	int fd;
	int memory_fd;
	int look_fd; /* asks how the interface is */
	int ifindex;
	uint32_t queue;
	uint32_t frames; /* in the memory, and in each ring */
	uint32_t frame_bytes; /* of the memory, for each */
	int map_fd; /* of the program: its sockets, by queue */
	char interface[16];
} fx_xsk_port;

/* How a port of a live source does. */
typedef struct {
	char interface[16]; /* its name now */
	char reason[96]; /* why it is not alive, or what else is to be known; "" = nothing */
	int32_t ifindex;
	int32_t alive;
	uint64_t packets; /* frames read from its ring */
	uint64_t drops; /* that found no room in it */
	uint64_t freezes; /* how often it was full */
} fx_port_state;

/* What the tap counts instead of copying it (src/shunt.h); counts include what is not folded into flows yet. */
typedef struct {
	uint64_t directions; /* shunted now */
	uint64_t added; /* so far */
	uint64_t refused; /* not shunted: no room */
	uint64_t packets, bytes; /* on the wire, IP bytes */
	uint64_t lost_packets; /* that came when their flow's row was written: in no row */
} fx_shunt_stats;

/* What is known of address translation, for streams that see both sides of a gateway. */
typedef struct {
	uint64_t seen_twice; /* packets counted on the other side: in no row, no other counter */
	uint64_t translated; /* packets of the outside, seen as the inside has them */
	uint64_t mappings; /* now */
	uint64_t added, ended;
	uint64_t refused; /* no room in the table */
	uint64_t overruns; /* how often events were lost */
	uint64_t readings; /* of the whole table of connections */
	uint64_t malformed; /* messages that were not understood */
	int32_t is_complete; /* every translation is known, as far as can be told */
	char reason[96]; /* why not */
} fx_nat_stats;

/* A network: `bits` of the address count; IPv4 as ::ffff:a.b.c.d, with 96 bits more. */
typedef struct {
	uint8_t address[16];
	uint32_t bits;
} fx_network;

/* Packets of a port that came from outside in the name of an address inside: they are in no flow and in no row. */
typedef struct {
	uint64_t packets;
	int64_t last_ns; /* of the last one, as all that follows */
	uint8_t src_addr[16];
	uint8_t dst_addr[16];
	uint64_t src_mac; /* of the frame */
} fx_forged;

int fx_abi_version(void);
const char *fx_last_error(void);

int fx_table_columns(int table, const fx_column **columns);

int fx_source_open_pcap(const char *const *paths, int count, fx_source **out);
int fx_source_open_synth(const char *profile, uint64_t seed, uint64_t packets, fx_source **out);
void fx_source_close(fx_source *source);

/*
 * Makes a socket whole, which needs CAP_NET_RAW. `filter_fd`: a BPF program of type socket filter, or -1. `fanout`: of
 * the ring on the same interface to share its packets with, 0 = the first of several, or -1 = the only one.
 */
int fx_packet_port_open(const char *interface, uint64_t ring_bytes, int filter_fd, int64_t fanout,
			fx_packet_port *out);
/* Replaces the filter of a port: another program, or -1 = every frame. Needs no capability. */
int fx_packet_port_filter(const fx_packet_port *port, int filter_fd);
/* Reads the rings of ports, which needs no capability; the source has its own copies of the descriptors. */
int fx_source_open_packet(const fx_packet_port *ports, int count, fx_source **out);
/* Puts another port in the place of a number; the descriptor of the old one is closed. */
int fx_source_replace_port(fx_source *source, int number, const fx_packet_port *port);
/*
 * AF_XDP takes frames away from the kernel: 0 if the interface is one that the kernel does nothing with; else -EBUSY
 * and words that say what it does.
 */
int fx_xsk_check(const char *interface);
/* How many queues the interface receives on, and the memory that a frame of its MTU needs. */
int fx_xsk_queues(const char *interface);
int fx_xsk_frame_bytes(const char *interface);
/*
 * Makes a socket and its memory, which needs CAP_NET_RAW; whoever reads it binds it, for until Linux 6.4 its rings
 * cannot be mapped later. `frames`: a power of two; map_fd is the caller's to fill in.
 */
int fx_xsk_port_open(const char *interface, uint32_t queue, uint32_t frames, fx_xsk_port *out);
/*
 * Puts the program of bpf/xsk.bpf.c on the port's interface. A descriptor, on which it hangs: when the last copy of it
 * is closed the interface is as before. *is_generic: not in the driver.
 */
int fx_xsk_attach(const fx_xsk_port *port, int program_fd, int *is_generic);
/* Reads ports, which needs no capability; the source has its own copies of the descriptors. */
int fx_source_open_xsk(const fx_xsk_port *ports, int count, fx_source **out);
/*
 * Reads other ports from now on, as when the interface was made anew; what was counted goes on in the first of them.
 * Between two batches; where it fails the source is as before.
 */
int fx_source_replace_xsk(fx_source *source, const fx_xsk_port *ports, int count);
/* Of live sources: up to `capacity` states, how many there are. */
int fx_source_ports(fx_source *source, fx_port_state *out, int capacity);
void fx_source_stop(fx_source *source);

int fx_batch_new(uint32_t packet_rows, uint32_t flow_rows, uint32_t interval_rows,
		 const uint8_t *packet_columns, const uint8_t *flow_columns,
		 const uint8_t *interval_columns, fx_batch **out);
void *fx_batch_column(fx_batch *batch, int table, int column);
uint32_t fx_batch_capacity(const fx_batch *batch, int table);
const fx_batch_state *fx_batch_state_of(const fx_batch *batch);
/*
 * The batch's flows as EVE events of type flow, a line each: how many octets, -errno. A line needs FX_FLOW_LINE_BYTES
 * and the length of in_iface, which is "" or the text of a JSON string. The columns it reads must be chosen.
 */
enum fx_line_sizes { FX_FLOW_LINE_BYTES = 896 };
int64_t fx_batch_flow_lines(const fx_batch *batch, const char *in_iface, char *out,
			    uint64_t capacity);
void fx_batch_free(fx_batch *batch);

void fx_stream_options_default(fx_stream_options *options);
int fx_stream_new(fx_source *source, const fx_stream_options *options, fx_stream **out);
int fx_stream_next(fx_stream *stream, fx_batch *batch);
void fx_stream_stats_read(const fx_stream *stream, fx_stream_stats *out);
/*
 * Looks at this share of all flows from now on, between 0 and 1, whole flows: their keyed hash decides. Packets of the
 * others are counted and parsed; packet rows stay whole.
 */
void fx_stream_sample(fx_stream *stream, double share);
int fx_stream_damages(const fx_stream *stream, const fx_damage **out);
/*
 * Shunts directions of flows past their first FX_FULL_PACKETS packets: maps of the tap by descriptor, worked without a
 * capability. Their counts become the flows' at the end of every tick. Where all packets become rows they are cut to
 * their headers instead of counted. The stream takes copies of the descriptors.
 */
int fx_stream_shunt(fx_stream *stream, int shunted_fd, int slots_fd);
/* Whether more directions are shunted; those that are stay so. */
void fx_stream_shunt_switch(fx_stream *stream, int takes_new);
void fx_stream_shunt_stats(const fx_stream *stream, fx_shunt_stats *out);

/*
 * A socket for the kernel's events of connections in this network namespace; needs CAP_NET_ADMIN. Reading it needs no
 * capability. fx_conntrack_ask() has the whole table sent to it: the asker and the opener need CAP_NET_ADMIN.
 */
int fx_conntrack_open(void);
int fx_conntrack_ask(int fd);
/*
 * Counts a connection through this gateway once, though ports of both its sides are captured: `ports` has a bit for
 * each number of a port that faces outside. Translated ones are found by conntrack; -1 = by the socket that it has, or
 * there is no translation. The stream takes a copy of the descriptor. Called again, between two batches, when another
 * port faces outside: flows in progress are counted where their first packet was seen.
 */
int fx_stream_outside(fx_stream *stream, uint64_t ports, int conntrack_fd);
/*
 * Which networks are inside, our own addresses included: what comes in on a port that faces outside in the name of one
 * of these is forged. After fx_stream_outside(), as often as they change.
 */
int fx_stream_inside(fx_stream *stream, const fx_network *networks, int count);
/* What a port saw of that; zeros without fx_stream_inside(). */
void fx_stream_forged(const fx_stream *stream, int port, fx_forged *out);
/* Goes on with another conntrack socket, between two batches. */
int fx_stream_conntrack(fx_stream *stream, int conntrack_fd);
void fx_stream_nat_read(const fx_stream *stream, fx_nat_stats *out);
void fx_stream_free(fx_stream *stream);

#endif
