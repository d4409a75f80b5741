/* SPDX-License-Identifier: Apache-2.0 */
/* Why a frame was not understood, or only in part: the values of the column `decode`. */
#ifndef FX_DECODE_H
#define FX_DECODE_H

/* Whatever the code, ip_version != 0 says that the addresses and proto were read: there is a flow key. */
enum fx_decode {
	FX_DECODE_OK = 0, /* understood; ip_version 0 then means ARP or another protocol without flows */

	/* Cut by the snapshot length, which is normal. */
	FX_DECODE_CUT_LINK = 1,      /* within the link-layer header or a VLAN tag */
	FX_DECODE_CUT_NETWORK = 2,   /* within the IP or ARP header: no addresses */
	FX_DECODE_CUT_TRANSPORT = 3, /* after the addresses: ports known if their four octets are there */
	FX_DECODE_CUT_OPTIONS = 4,   /* within the TCP options: all else is known */

	FX_DECODE_LINKTYPE = 8, /* a link type this library does not know */

	/* Malformed: the headers contradict themselves or the wire length. */
	FX_DECODE_SHORT_LINK = 16,       /* the wire length ends within the link-layer header */
	FX_DECODE_SHORT_NETWORK = 17,    /* ... within the IP or ARP header */
	FX_DECODE_SHORT_TRANSPORT = 18,  /* the IP length ends within the transport header */
	FX_DECODE_IP_VERSION = 19,       /* version nibble is not the one announced */
	FX_DECODE_IP_HEADER_LENGTH = 20, /* IPv4 header length below 20 */
	FX_DECODE_IP_LENGTH = 21,        /* IP length shorter than its header, or beyond the wire length
					    (then every field is filled, sizes by the IP header) */
	FX_DECODE_IP_EXTENSION = 22,     /* IPv6 extension headers beyond the packet, or too many */
	FX_DECODE_TCP_OFFSET = 23,       /* TCP data offset below 20 or beyond the packet */
	FX_DECODE_UDP_LENGTH = 24,       /* UDP length below 8 or beyond the packet (ports are filled) */
	FX_DECODE_ARP = 25,              /* ARP for other than Ethernet and IPv4, or operation > 255 */
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
