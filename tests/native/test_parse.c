/* SPDX-License-Identifier: Apache-2.0 */
/* What the parser makes of single frames: a sentence, the octets, the columns expected of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "columns_text.h"
#include "fx/parse.h"

/* clang-format off */
#define MACS "02 00 00 00 00 02 02 00 00 00 00 01 "
#define IP4(total, proto) "45 10 " total " 00 01 40 00 40 " proto " 00 00 c0 a8 00 01 c0 a8 00 02 "
#define IP4_INNER(total, proto) "45 00 " total " 00 01 40 00 3f " proto " 00 00 0a 01 00 01 0a 01 00 02 "
#define IP4_FRAGMENT(total, offset, proto) "45 00 " total " 00 01 " offset " 40 " proto " 00 00 c0 a8 00 01 c0 a8 00 02 "
#define IP6(length, next) "6a 50 00 00 " length " " next " 39 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 " \
	"20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02 "
#define PORTS "30 39 01 bb "
#define TCP(offset_flags) PORTS "00 00 00 07 00 00 00 09 " offset_flags " ff fe 00 00 00 00 "
#define UDP(length) "30 39 00 35 " length " 00 00 "
#define IS_4 "ip_version=4 src_addr=00000000000000000000ffffc0a80001 dst_addr=00000000000000000000ffffc0a80002 "
#define IS_INNER "ip_version=4 src_addr=00000000000000000000ffff0a010001 dst_addr=00000000000000000000ffff0a010002 "
#define IS_6 "ip_version=6 src_addr=20010db8000000000000000000000001 dst_addr=20010db8000000000000000000000002 "
#define IS_MACS "src_mac=2199023255553 dst_mac=2199023255554 "
#define IS_PORTS "src_port=12345 dst_port=443 "

static const struct {
	const char *sentence;
	int linktype;
	int wire_bytes; /* 0 = as captured */
	const char *octets;
	const char *expected;
} rows[] = {
	{ "a TCP segment over IPv4 fills every column that it can", 1, 0,
	  MACS "08 00 " IP4("00 2d", "06") TCP("50 18") "61 62 63 64 65",
	  IS_4 IS_MACS IS_PORTS "decode=0 proto=6 ttl=64 tos=16 ip_bytes=45 header_bytes=40 payload_bytes=5 payload_offset=54 "
	  "tcp_seq=7 tcp_ack=9 tcp_flags=24 tcp_window=65534 tcp_wscale=255 tcp_mss=0 tcp_options=0 ethertype=2048 "
	  "wire_bytes=59 captured_bytes=59 wire_segments=1 fragment=0 tunnel=0 vlan_id=0 icmp_id=0 arp_op=0 arp_mac=0" },
	{ "padding of a short Ethernet frame is not payload", 1, 0,
	  MACS "08 00 " IP4("00 28", "06") TCP("50 10") "00 00 00 00 00 00",
	  IS_4 "decode=0 ip_bytes=40 payload_bytes=0 payload_offset=0 wire_bytes=60" },
	{ "the options of a SYN are read", 1, 0,
	  MACS "08 00 " IP4("00 3c", "06") TCP("a0 02") "02 04 05 b4 04 02 08 0a 00 00 00 01 00 00 00 00 01 03 03 07",
	  IS_4 "decode=0 tcp_mss=1460 tcp_wscale=7 tcp_options=15 tcp_flags=2 header_bytes=60" },
	{ "time stamps behind two no-ops are seen on any segment", 1, 0,
	  MACS "08 00 " IP4("00 34", "06") TCP("80 10") "01 01 08 0a 00 00 00 01 00 00 00 02",
	  "decode=0 tcp_options=8 header_bytes=52 tcp_wscale=255" },
	{ "selective acknowledgments are seen", 1, 0,
	  MACS "08 00 " IP4("00 34", "06") TCP("80 10") "01 01 05 0a 00 00 00 01 00 00 00 02", "decode=0 tcp_options=16" },
	{ "an option that is longer than what is left marks the options malformed", 1, 0,
	  MACS "08 00 " IP4("00 2c", "06") TCP("60 02") "02 08 05 b4", "decode=0 tcp_options=128 tcp_mss=0" },
	{ "an option of length 0 ends the walk", 1, 0,
	  MACS "08 00 " IP4("00 2c", "06") TCP("60 02") "03 00 05 b4", "decode=0 tcp_options=128 tcp_wscale=255" },
	{ "options cut by the snapshot length leave all else known", 1, 74,
	  MACS "08 00 " IP4("00 3c", "06") TCP("a0 02") "02 04 05", IS_4 IS_PORTS "decode=4 tcp_flags=2 tcp_options=0" },
	{ "a payload cut by the snapshot length has its whole length", 1, 1514,
	  MACS "08 00 " IP4("05 dc", "06") TCP("50 10") "61",
	  "decode=0 ip_bytes=1500 payload_bytes=1460 payload_offset=54 wire_bytes=1514 captured_bytes=55" },
	{ "total length 0 is a segment the card will cut: the wire tells", 1, 3054,
	  MACS "08 00 " IP4("00 00", "06") TCP("50 10") "61", "decode=0 ip_bytes=3040 payload_bytes=3000" },
	{ "a wire length below the captured one gives way", 1, 10,
	  MACS "08 00 " IP4("00 2d", "06") TCP("50 18") "61 62 63 64 65", "decode=0 wire_bytes=59 payload_bytes=5" },
	{ "a TCP header cut after its ports gives the ports", 1, 60,
	  MACS "08 00 " IP4("00 28", "06") PORTS "00 00", IS_4 IS_PORTS "decode=3 payload_bytes=0 tcp_flags=0" },
	{ "a TCP header of which nothing was captured leaves ports 0", 1, 60,
	  MACS "08 00 " IP4("00 28", "06"), IS_4 "decode=3 src_port=0 dst_port=0 proto=6" },
	{ "a data offset below 20 is malformed", 1, 0,
	  MACS "08 00 " IP4("00 28", "06") TCP("40 10"), IS_4 IS_PORTS "decode=23" },
	{ "a data offset beyond the packet is malformed", 1, 0,
	  MACS "08 00 " IP4("00 28", "06") TCP("f0 10"), IS_4 IS_PORTS "decode=23" },
	{ "an IP length within the TCP header is malformed", 1, 0,
	  MACS "08 00 " IP4("00 20", "06") TCP("50 10"), IS_4 IS_PORTS "decode=18" },
	{ "a total length beyond the wire is malformed and still tells the sizes", 1, 0,
	  MACS "08 00 " IP4("05 dc", "06") TCP("50 10") "61", IS_4 IS_PORTS "decode=21 ip_bytes=1500 payload_bytes=1460" },
	{ "a total length below the header length is malformed", 1, 0,
	  MACS "08 00 " IP4("00 13", "06") TCP("50 10"), "decode=21 ip_version=0" },
	{ "a header length below 20 is malformed", 1, 0,
	  MACS "08 00 44 00 00 28 00 01 40 00 40 06 00 00 c0 a8 00 01 c0 a8 00 02 " TCP("50 10"), "decode=20 ip_version=0" },
	{ "IPv6 announced as IPv4 is malformed", 1, 0,
	  MACS "08 00 " IP6("00 14", "06") TCP("50 10"), "decode=19 ip_version=0" },
	{ "IPv4 options are stepped over", 1, 0,
	  MACS "08 00 46 00 00 2c 00 01 40 00 40 06 00 00 c0 a8 00 01 c0 a8 00 02 94 04 00 00 " TCP("50 10"),
	  IS_4 IS_PORTS "decode=0 header_bytes=44 tcp_seq=7" },
	{ "a UDP datagram has ports and a payload by its own length", 1, 0,
	  MACS "08 00 " IP4("00 21", "11") UDP("00 0d") "61 62 63 64 65",
	  IS_4 "decode=0 proto=17 src_port=12345 dst_port=53 payload_bytes=5 payload_offset=42 header_bytes=28 tcp_window=0" },
	{ "a UDP length beyond the IP packet is malformed", 1, 0,
	  MACS "08 00 " IP4("00 20", "11") UDP("00 64") "61 62 63 64", IS_4 "decode=24 dst_port=53 payload_bytes=4" },
	{ "a UDP length below 8 is malformed", 1, 0,
	  MACS "08 00 " IP4("00 20", "11") UDP("00 07") "61 62 63 64", IS_4 "decode=24 dst_port=53" },
	{ "a first fragment has ports, and its own payload length", 1, 0,
	  MACS "08 00 " IP4_FRAGMENT("00 24", "20 00", "11") UDP("07 d8") "61 62 63 64 65 66 67 68",
	  IS_4 "decode=0 fragment=1 dst_port=53 payload_bytes=8" },
	{ "a later fragment has no ports, all of it is payload", 1, 0,
	  MACS "08 00 " IP4_FRAGMENT("00 1c", "00 b9", "11") "61 62 63 64 65 66 67 68",
	  IS_4 "decode=0 fragment=2 src_port=0 dst_port=0 payload_bytes=8 payload_offset=34 header_bytes=20 proto=17" },
	{ "an echo request has type, code and identifier", 1, 0,
	  MACS "08 00 " IP4("00 20", "01") "08 00 00 00 12 34 00 01 61 62 63 64",
	  IS_4 "decode=0 proto=1 src_port=8 dst_port=0 icmp_id=4660 payload_bytes=4 header_bytes=28" },
	{ "an unreachable message is not taken for the packet that it quotes", 1, 0,
	  MACS "08 00 " IP4("00 38", "01") "03 01 00 00 00 00 00 00 " IP4_INNER("00 1c", "11") UDP("00 08"),
	  IS_4 "decode=0 proto=1 src_port=3 dst_port=1 icmp_id=0 payload_bytes=28" },
	{ "SCTP has ports", 1, 0,
	  MACS "08 00 " IP4("00 24", "84") PORTS "00 00 00 01 00 00 00 00 01 00 00 04", IS_4 IS_PORTS "decode=0 payload_bytes=4" },
	{ "a protocol without a parser is payload", 1, 0,
	  MACS "08 00 " IP4("00 18", "59") "01 02 03 04", IS_4 "decode=0 proto=89 src_port=0 payload_bytes=4 payload_offset=34" },
	{ "IPv6 with TCP", 1, 0, MACS "86 dd " IP6("00 15", "06") TCP("50 12") "61",
	  IS_6 IS_PORTS "decode=0 proto=6 ttl=57 tos=165 ip_bytes=61 payload_bytes=1 header_bytes=60 tcp_flags=18" },
	{ "IPv6 extension headers are stepped over", 1, 0,
	  MACS "86 dd " IP6("00 24", "00") "3c 00 01 04 00 00 00 00 06 00 01 04 00 00 00 00 " TCP("50 10"),
	  IS_6 IS_PORTS "decode=0 proto=6 header_bytes=76" },
	{ "a first fragment of IPv6 has ports", 1, 0,
	  MACS "86 dd " IP6("00 14", "2c") "11 00 00 01 00 00 00 07 " UDP("00 30") "61 62 63 64",
	  IS_6 "decode=0 proto=17 fragment=1 dst_port=53 payload_bytes=4" },
	{ "a later fragment of IPv6 has none", 1, 0,
	  MACS "86 dd " IP6("00 10", "2c") "11 00 00 08 00 00 00 07 61 62 63 64 65 66 67 68",
	  IS_6 "decode=0 proto=17 fragment=2 dst_port=0 payload_bytes=8" },
	{ "more than eight extension headers are malformed", 1, 0,
	  MACS "86 dd " IP6("00 5c", "3c") "3c 00 01 04 00 00 00 00 3c 00 01 04 00 00 00 00 3c 00 01 04 00 00 00 00 "
	  "3c 00 01 04 00 00 00 00 3c 00 01 04 00 00 00 00 3c 00 01 04 00 00 00 00 3c 00 01 04 00 00 00 00 "
	  "3c 00 01 04 00 00 00 00 06 00 01 04 00 00 00 00 " TCP("50 10"), IS_6 "decode=22 src_port=0" },
	{ "an extension header longer than the packet is malformed", 1, 0,
	  MACS "86 dd " IP6("00 08", "00") "06 09 01 04 00 00 00 00", IS_6 "decode=22" },
	{ "an extension header that was not captured is cut", 1, 200, MACS "86 dd " IP6("00 80", "00") "06 00", IS_6 "decode=3" },
	{ "a neighbour advertisement tells who claims the address", 1, 0,
	  MACS "86 dd " IP6("00 20", "3a") "88 00 00 00 60 00 00 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 "
	  "02 01 02 00 00 00 00 99", IS_6 "decode=0 proto=58 src_port=136 arp_op=136 arp_mac=2199023255705" },
	{ "a neighbour solicitation without an option claims nothing", 1, 0,
	  MACS "86 dd " IP6("00 18", "3a") "87 00 00 00 00 00 00 00 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01",
	  IS_6 "decode=0 arp_op=135 arp_mac=0" },
	{ "an ARP reply tells who claims the address", 1, 0,
	  MACS "08 06 00 01 08 00 06 04 00 02 02 00 00 00 00 77 c0 a8 00 01 02 00 00 00 00 02 c0 a8 00 02",
	  "decode=0 ip_version=0 ethertype=2054 arp_op=2 arp_mac=2199023255671 proto=0 "
	  "src_addr=00000000000000000000ffffc0a80001 dst_addr=00000000000000000000ffffc0a80002" },
	{ "ARP for another protocol is not understood", 1, 0,
	  MACS "08 06 00 01 86 dd 06 10 00 02 02 00 00 00 00 77 c0 a8 00 01 02 00 00 00 00 02 c0 a8 00 02", "decode=25 arp_op=0" },
	{ "an ARP packet that was cut has no addresses", 1, 60, MACS "08 06 00 01 08 00 06 04 00 02", "decode=2 arp_op=0" },
	{ "a VLAN tag is kept", 1, 0, MACS "81 00 60 0a 08 00 " IP4("00 28", "06") TCP("50 10"),
	  IS_4 IS_PORTS IS_MACS "decode=0 vlan_id=10 inner_vlan_id=0 ethertype=2048" },
	{ "two VLAN tags are kept", 1, 0, MACS "88 a8 00 14 81 00 00 1e 86 dd " IP6("00 14", "06") TCP("50 10"),
	  IS_6 "decode=0 vlan_id=20 inner_vlan_id=30 ethertype=34525" },
	{ "a VLAN tag that was cut is no IP packet", 1, 60, MACS "81 00 60", "decode=1 ip_version=0" },
	{ "five VLAN tags are four too many for the columns and one for the parser", 1, 0,
	  MACS "81 00 00 01 81 00 00 02 81 00 00 03 81 00 00 04 81 00 00 05 08 00 " IP4("00 28", "06") TCP("50 10"),
	  "decode=0 ip_version=0 ethertype=33024 vlan_id=1" },
	{ "IP in a PPPoE session is IP", 1, 0, MACS "88 64 11 00 00 01 00 2a 00 21 " IP4("00 28", "06") TCP("50 10"),
	  IS_4 IS_PORTS "decode=0 tunnel=4 ethertype=2048" },
	{ "IPv6 in a PPPoE session is IPv6", 1, 0, MACS "88 64 11 00 00 01 00 3e 00 57 " IP6("00 14", "06") TCP("50 10"),
	  IS_6 IS_PORTS "decode=0 tunnel=4 ethertype=34525" },
	{ "IP longer than its PPPoE session is malformed", 1, 0,
	  MACS "88 64 11 00 00 01 00 20 00 21 " IP4("00 28", "06") TCP("50 10"), IS_4 "decode=21 tunnel=4 ip_bytes=40" },
	{ "LCP in a PPPoE session is understood and no IP", 1, 0, MACS "88 64 11 00 00 01 00 0a c0 21 09 00 00 08 01 02 03 04",
	  "decode=0 ip_version=0 ethertype=34916 tunnel=0" },
	{ "LLDP is understood and no IP", 1, 0, MACS "88 cc 02 07 04 00 00 00 00 00 00", "decode=0 ip_version=0 ethertype=35020" },
	{ "spanning tree over LLC has no EtherType", 1, 0, MACS "00 07 42 42 03 00 00 00 00", "decode=0 ip_version=0 ethertype=0" },
	{ "IP over LLC and SNAP is IP", 1, 0, MACS "00 30 aa aa 03 00 00 00 08 00 " IP4("00 28", "06") TCP("50 10"),
	  IS_4 IS_PORTS "decode=0 ethertype=2048" },
	{ "a frame that was cut within the Ethernet header is cut", 1, 60, MACS "08", "decode=1 src_mac=0" },
	{ "a frame shorter than an Ethernet header is malformed", 1, 0, "02 00 00", "decode=16" },
	{ "an empty frame is malformed", 1, 0, "", "decode=16 wire_bytes=0" },
	{ "an IP header that was cut gives no addresses", 1, 60, MACS "08 00 45 00 00 28 00 01", "decode=2 ip_version=0" },
	{ "an IP header beyond the wire is malformed", 1, 0, MACS "08 00 45 00 00 28 00 01", "decode=17 ip_version=0" },

	{ "GRE carries the inner packet", 1, 0,
	  MACS "08 00 " IP4("00 40", "2f") "00 00 08 00 " IP4_INNER("00 28", "06") TCP("50 10"),
	  IS_INNER IS_PORTS IS_MACS "decode=0 tunnel=1 ip_bytes=40 ttl=63 tos=0 header_bytes=40 payload_bytes=0" },
	{ "GRE with key, checksum and sequence carries the inner packet", 1, 0,
	  MACS "08 00 " IP4("00 60", "2f") "b0 00 86 dd 00 00 00 00 00 00 00 01 00 00 00 02 " IP6("00 14", "06") TCP("50 10"),
	  IS_6 IS_PORTS "decode=0 tunnel=1" },
	{ "GRE carries Ethernet", 1, 0,
	  MACS "08 00 " IP4("00 52", "2f") "00 00 65 58 0a 0a 0a 0a 0a 0a 0b 0b 0b 0b 0b 0b 81 00 00 05 08 00 "
	  IP4_INNER("00 28", "06") TCP("50 10"), IS_INNER IS_PORTS IS_MACS "decode=0 tunnel=1 vlan_id=0" },
	{ "GRE version 1 is left alone", 1, 0,
	  MACS "08 00 " IP4("00 20", "2f") "30 01 88 0b 00 00 00 01 00 00 00 02", IS_4 "decode=0 proto=47 tunnel=0 payload_bytes=12" },
	{ "VXLAN carries the inner packet", 1, 0,
	  MACS "08 00 " IP4("00 5a", "11") "30 39 12 b5 00 46 00 00 08 00 00 00 00 00 2a 00 0a 0a 0a 0a 0a 0a 0b 0b 0b 0b 0b 0b 08 00 "
	  IP4_INNER("00 28", "06") TCP("50 10"), IS_INNER IS_PORTS IS_MACS "decode=0 tunnel=2 ip_bytes=40 proto=6" },
	{ "VXLAN that carries ARP stays the datagram it is", 1, 0,
	  MACS "08 00 " IP4("00 3a", "11") "30 39 12 b5 00 26 00 00 08 00 00 00 00 00 2a 00 0a 0a 0a 0a 0a 0a 0b 0b 0b 0b 0b 0b 08 06 "
	  "00 01 08 00 06 04 00 02", IS_4 "decode=0 tunnel=0 proto=17 src_port=12345 dst_port=4789 payload_bytes=30" },
	{ "a tunnel that carries nonsense stays the outer packet", 1, 0,
	  MACS "08 00 " IP4("00 2c", "2f") "00 00 08 00 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13",
	  IS_4 "decode=0 proto=47 tunnel=0 ip_bytes=44" },
	{ "IP in IP", 1, 0, MACS "08 00 " IP4("00 3c", "04") IP4_INNER("00 28", "06") TCP("50 10"),
	  IS_INNER IS_PORTS "decode=0 tunnel=3 ip_bytes=40" },
	{ "IPv6 in IPv4", 1, 0, MACS "08 00 " IP4("00 50", "29") IP6("00 14", "06") TCP("50 10"), IS_6 IS_PORTS "decode=0 tunnel=3" },
	{ "two tunnels are followed, the third is payload", 1, 0,
	  MACS "08 00 " IP4("00 64", "04") IP4_INNER("00 50", "04") IP4_INNER("00 3c", "04") IP4("00 28", "06") TCP("50 10"),
	  IS_INNER "decode=0 tunnel=3 ip_bytes=60 proto=4 payload_bytes=40 src_port=0" },
	{ "the later fragment of a tunnel is not looked into", 1, 0,
	  MACS "08 00 " IP4_FRAGMENT("00 3c", "00 01", "04") IP4_INNER("00 28", "06") TCP("50 10"), IS_4 "decode=0 tunnel=0 fragment=2" },

	{ "raw IPv4", 101, 0, IP4("00 28", "06") TCP("50 10"), IS_4 IS_PORTS "decode=0 src_mac=0 ethertype=2048" },
	{ "raw IPv6", 12, 0, IP6("00 14", "06") TCP("50 10"), IS_6 IS_PORTS "decode=0 ethertype=34525" },
	{ "raw IP of neither version is malformed", 14, 0, "15 00 00 28 00 01 40 00 40 06 00 00 c0 a8 00 01 c0 a8 00 02", "decode=19" },
	{ "BSD loopback, little-endian family", 0, 0, "02 00 00 00 " IP4("00 28", "06") TCP("50 10"), IS_4 IS_PORTS "decode=0" },
	{ "BSD loopback, big-endian family of IPv6", 0, 0, "00 00 00 1e " IP6("00 14", "06") TCP("50 10"), IS_6 IS_PORTS "decode=0" },
	{ "OpenBSD loopback", 108, 0, "00 00 00 02 " IP4("00 28", "06") TCP("50 10"), IS_4 IS_PORTS "decode=0" },
	{ "loopback of another family is understood and no IP", 0, 0, "07 00 00 00 01 02 03 04", "decode=0 ip_version=0 ethertype=0" },
	{ "Linux cooked capture has the sender's address", 113, 0,
	  "00 00 00 01 00 06 02 00 00 00 00 01 00 00 08 00 " IP4("00 28", "06") TCP("50 10"),
	  IS_4 IS_PORTS "decode=0 src_mac=2199023255553 dst_mac=0" },
	{ "Linux cooked capture, second version, with a VLAN tag", 276, 0,
	  "81 00 00 00 00 00 00 03 00 01 00 06 02 00 00 00 00 01 00 00 00 07 86 dd " IP6("00 14", "06") TCP("50 10"),
	  IS_6 IS_PORTS "decode=0 src_mac=2199023255553 vlan_id=7" },
	{ "PPP in HDLC-like framing", 9, 0, "ff 03 00 21 " IP4("00 28", "06") TCP("50 10"), IS_4 IS_PORTS "decode=0 ethertype=2048" },
	{ "bare PPP", 9, 0, "00 57 " IP6("00 14", "06") TCP("50 10"), IS_6 IS_PORTS "decode=0 ethertype=34525 tunnel=0" },
	{ "PPP that carries LCP is understood and no IP", 9, 0, "ff 03 c0 21 01 01 00 04", "decode=0 ip_version=0 ethertype=0" },
	{ "Cisco HDLC", 104, 0, "0f 00 08 00 " IP4("00 28", "06") TCP("50 10"), IS_4 IS_PORTS "decode=0 ethertype=2048" },
	{ "PPP that was cut", 9, 60, "ff 03", "decode=1 ip_version=0" },
	{ "an unknown link type is said to be one", 147, 0, IP4("00 28", "06") TCP("50 10"), "decode=8 ip_version=0" },
};
/* clang-format on */

static size_t read_octets(const char *text, fx_u8 *out)
{
	size_t count = 0;
	int used = 0;
	unsigned int octet;

	for (; sscanf(text, "%2x%n", &octet, &used) == 1; text += used)
		out[count++] = (fx_u8)octet;
	return count;
}

/* How many of the "name=value" words in `expected` do not hold. */
static int differences(const char *sentence, const char *expected, const struct fx_packet *packet)
{
	char words[1024];
	int count = 0;

	snprintf(words, sizeof(words), "%s", expected);
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
		char found[64] = "no such column";
		char *value = strchr(word, '=');

		*value++ = 0;
		column_text(packet, word, found, sizeof(found));
		if (strcmp(found, value) == 0)
			continue;
		printf("%s: %s is %s, expected %s\n", sentence, word, found, value);
		count++;
	}
	return count;
}

int main(void)
{
	const size_t count = sizeof(rows) / sizeof(rows[0]);
	int failures = 0;

	for (size_t i = 0; i < count; i++) {
		fx_u8 octets[512];
		size_t size = read_octets(rows[i].octets, octets);
		fx_u8 *frame = malloc(size + !size); /* of its very size, for the sanitizer */
		struct fx_packet packet;
		int code;

		memcpy(frame, octets, size);
		memset(&packet, 0xa5, sizeof(packet)); /* nothing may be left of it */
		packet.time_ns = 12345;
		packet.iface = 3;
		code = fx_parse_frame(frame, frame + size,
				      rows[i].wire_bytes ? (fx_u32)rows[i].wire_bytes :
							   (fx_u32)size,
				      (fx_u16)rows[i].linktype, &packet);
		failures += differences(rows[i].sentence, rows[i].expected, &packet);
		failures += differences(rows[i].sentence, "time_ns=12345 iface=3", &packet);
		if (code != packet.decode)
			printf("%s: returns %d, column %d\n", rows[i].sentence, code,
			       packet.decode);
		failures += code != packet.decode;
		free(frame);
	}
	printf("%zu frames, %d differences\n", count, failures);
	return failures != 0;
}
