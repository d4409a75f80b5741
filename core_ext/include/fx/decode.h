/* SPDX-License-Identifier: Apache-2.0 */
/* Why a frame was not understood, or only in part: the values of the column `decode`. */
#ifndef FX_DECODE_H
#define FX_DECODE_H

/* Whatever the code: ip_version != 0 says that addresses and proto are known, so there is a flow. */
enum fx_decode {
	/* Understood; ip_version 0 then means ARP or another protocol without flows. */
	FX_DECODE_OK = 0,

	/* Cut by the snapshot length, which is normal: within the link header or a VLAN tag, ... */
	FX_DECODE_CUT_LINK = 1,
	/* ... within the IP or ARP header, so that there are no addresses, ... */
	FX_DECODE_CUT_NETWORK = 2,
	/* ... after the addresses (ports are filled if their four octets are there), ... */
	FX_DECODE_CUT_TRANSPORT = 3,
	/* ... within the TCP options: all else is known. */
	FX_DECODE_CUT_OPTIONS = 4,

	/* A link type this library does not know. */
	FX_DECODE_LINKTYPE = 8,

	/* Malformed. The wire length ends within the link header, the IP or ARP header; ... */
	FX_DECODE_SHORT_LINK = 16,
	FX_DECODE_SHORT_NETWORK = 17,
	/* ... the IP length ends within the transport header. */
	FX_DECODE_SHORT_TRANSPORT = 18,
	/* The version nibble is not the one announced. */
	FX_DECODE_IP_VERSION = 19,
	/* The IPv4 header length is below 20. */
	FX_DECODE_IP_HEADER_LENGTH = 20,
	/* The IP length is below its header's, or beyond the wire (then sizes are still by it). */
	FX_DECODE_IP_LENGTH = 21,
	/* IPv6 extension headers beyond the packet, or too many of them. */
	FX_DECODE_IP_EXTENSION = 22,
	/* The TCP data offset is below 20 or beyond the packet (ports are filled). */
	FX_DECODE_TCP_OFFSET = 23,
	/* The UDP length is below 8 or beyond the packet (ports are filled). */
	FX_DECODE_UDP_LENGTH = 24,
	/* ARP for other than Ethernet and IPv4, or an operation above 255. */
	FX_DECODE_ARP = 25,
	FX_DECODE_CODES
};

static inline int fx_decode_is_cut(int code)
{
	return code >= FX_DECODE_CUT_LINK && code <= FX_DECODE_CUT_OPTIONS;
}

static inline int fx_decode_is_malformed(int code)
{
	return code >= FX_DECODE_SHORT_LINK;
}

#endif
