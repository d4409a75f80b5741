/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces as the kernel tells them, for packet sockets. */
#ifndef FX_PACKET_PORT_H
#define FX_PACKET_PORT_H
#include "fx/abi.h"

/* How the interface is that a packet socket was bound to: fills all but the counters; state->interface holds the last name. */
void fx_packet_port_look(const fx_packet_port *port, fx_port_state *state);

/* 0, or -errno with words if two of the ports show the same packets (packet_links.c). */
int fx_packet_ports_check(const fx_packet_port *ports, int count);

#endif
