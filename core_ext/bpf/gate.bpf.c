/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The gate: an XDP program that drops what comes from a blocked MAC, address or prefix until the
 * entry is over, and holds a limited source to its rates. fx/gate.h says what the maps hold.
 *
 * On a port to the Internet the attacker is the source. On a port to the LAN a blocked device is
 * the source, and what leaves for a blocked address has it as destination: there fortress_gate_d
 * looks at both. A MAC is only looked up as a source.
 *
 * The frame is read by parse_link.h only as far as the source address: the whole parser, tunnels and
 * TCP options included, takes as long as all of the lookups here. Transport is read where an entry
 * limits. What is inside of GRE, VXLAN or IP-in-IP is not looked at.
 *
 * Loading takes CAP_PERFMON beside CAP_BPF and CAP_NET_ADMIN: without it the kernel lets no program
 * subtract pointers, as the shared parser does, and adds barriers that make it a third slower.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "fx/gate.h"
#include "fx/parse_link.h"
#include "fx/parse_network.h"
#include "limit.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, fx_addr);
	__type(value, struct fx_gate_value);
} entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fx_gate_prefix4);
	__type(value, struct fx_gate_value);
} prefixes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fx_gate_prefix);
	__type(value, struct fx_gate_value);
} prefixes6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fx_gate_prefix);
	__type(value, __u8);
} never SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fx_gate_cpu);
} cpus SEC(".maps");

struct fx_gate_filters filters;

static __always_inline int may_hold(const struct fx_gate_octets *filter, fx_u8 octet)
{
	return filter->words[octet >> 6] >> (octet & 63) & 1;
}

/* Boot time as of the last tick of the kernel's timer: reading the clock costs more than a lookup. */
static __always_inline __u64 boot_ns(struct fx_gate_cpu *cpu)
{
	__u64 jiffies = bpf_jiffies64();

	if (jiffies != cpu->jiffies) {
		cpu->boot_ns = bpf_ktime_get_boot_ns();
		cpu->jiffies = jiffies;
	}
	return cpu->boot_ns;
}

static __always_inline int is_never(const fx_addr *key, const struct fx_gate_octets *filter,
				    fx_u8 octet)
{
	struct fx_gate_prefix whole = { .bits = FX_GATE_KEY_BITS };

	if (!may_hold(filter, octet))
		return 0;
	__builtin_memcpy(whole.octets, key, sizeof(whole.octets));
	return bpf_map_lookup_elem(&never, &whole) != NULL;
}

/* What an entry that was found for `key` makes of the frame; `refused` is what a drop is called. */
static __always_inline __u32 judge(struct xdp_md *context, struct fx_gate_cpu *cpu,
				   struct fx_gate_value *value, const fx_addr *key,
				   const struct fx_gate_octets *filter, fx_u8 octet, __u32 refused)
{
	__u64 now_ns = boot_ns(cpu);

	if (value->until_ns && value->until_ns <= now_ns)
		return FX_GATE_pass_expired;
	if (is_never(key, filter, octet))
		return FX_GATE_pass_never;
	if (value->action == FX_GATE_LIMIT) {
		if (limit_spend(value, limit_kind(context), now_ns))
			return FX_GATE_pass_limit;
		refused = FX_GATE_drop_limit;
	}
	__sync_fetch_and_add(&value->hits, 1);
	return refused;
}

static __always_inline __u32 ask_mac(struct xdp_md *context, struct fx_gate_cpu *cpu, __u64 mac)
{
	struct fx_gate_value *value;
	fx_addr key;

	if (!may_hold(&filters.mac, (fx_u8)mac))
		return FX_GATE_pass;
	fx_addr_put(&key, ~0ull, __builtin_bswap64(mac | 0xffffull << 48));
	value = bpf_map_lookup_elem(&entries, &key);
	if (!value)
		return FX_GATE_pass;
	return judge(context, cpu, value, &key, &filters.never_mac, (fx_u8)mac, FX_GATE_drop_mac);
}

/*
 * The worse of two outcomes. The verifier shall not follow the rest of the program for each: it is
 * made to forget which one it was (fx_settle_number; jiffies are any number to it).
 */
static __always_inline __u32 worse(__u32 one, __u32 other, const struct fx_gate_cpu *cpu)
{
	__u64 outcome = one > other ? one : other;

	fx_settle_number(outcome, 15, 0, cpu->jiffies);
	return (__u32)outcome;
}

/* An address in its own entry, then in a prefix. */
static __always_inline __u32 ask_address(struct xdp_md *context, struct fx_gate_cpu *cpu,
					 const fx_addr *key, int ip4)
{
	const struct fx_gate_octets *filter = ip4 ? &filters.never_ip4 : &filters.never_ip6;
	fx_u8 octet = ip4 ? key->octets[12] : key->octets[0];
	struct fx_gate_value *value = bpf_map_lookup_elem(&entries, key);
	__u32 outcome = FX_GATE_pass;

	if (value)
		outcome =
			worse(judge(context, cpu, value, key, filter, octet, FX_GATE_drop_address),
			      FX_GATE_pass, cpu);
	if (outcome >= FX_GATE_FIRST_DROP)
		return outcome;
	if (ip4) {
		struct fx_gate_prefix4 whole = { 32, fx_load32(key->octets + 12) };

		value = bpf_map_lookup_elem(&prefixes4, &whole);
	} else {
		struct fx_gate_prefix whole = { .bits = FX_GATE_KEY_BITS };

		__builtin_memcpy(whole.octets, key, sizeof(whole.octets));
		value = bpf_map_lookup_elem(&prefixes6, &whole);
	}
	if (!value)
		return outcome;
	return worse(outcome, judge(context, cpu, value, key, filter, octet, FX_GATE_drop_prefix),
		     cpu);
}

static __always_inline __u32 ask_addresses(struct xdp_md *context, struct fx_gate_cpu *cpu,
					   const fx_u8 *at, const fx_u8 *end, fx_u16 ethertype,
					   int both)
{
	fx_addr source, destination;
	__u32 outcome;
	int ip4 = ethertype == FX_ETHERTYPE_IP4;

	if (ip4) {
		if (!fx_has(at, FX_IP4_HEADER, end) || at[0] >> 4 != 4)
			return FX_GATE_pass_no_address;
		fx_addr_put4(&source, at + 12);
		fx_addr_put4(&destination, at + 16);
	} else {
		if (ethertype != FX_ETHERTYPE_IP6 || !fx_has(at, FX_IP6_HEADER, end) ||
		    at[0] >> 4 != 6)
			return FX_GATE_pass_no_address;
		fx_addr_put6(&source, at + 8);
		fx_addr_put6(&destination, at + 24);
	}
	outcome = ask_address(context, cpu, &source, ip4);
	if (!both || outcome >= FX_GATE_FIRST_DROP)
		return outcome;
	return worse(outcome, ask_address(context, cpu, &destination, ip4), cpu);
}

static __always_inline __u32 ask(struct xdp_md *context, struct fx_gate_cpu *cpu, int both)
{
	const fx_u8 *bytes = (void *)(long)context->data;
	struct fx_cursor c = { bytes, (void *)(long)context->data_end, LIMIT_WIRE };
	struct fx_packet link;
	__u32 outcome;

	if (fx_take_link(&c, FX_ETHERNET_HEADER))
		return FX_GATE_pass_no_address;
	outcome = worse(ask_mac(context, cpu, fx_load_mac(bytes + 6)), FX_GATE_pass, cpu);
	if (outcome >= FX_GATE_FIRST_DROP)
		return outcome;
	if (fx_parse_ethertype(&c, fx_load16_be(bytes + 12), &link))
		return worse(outcome, FX_GATE_pass_no_address, cpu);
	if (c.at != bytes + FX_ETHERNET_HEADER)
		fx_settle(&c, bytes); /* the ways through tags and PPPoE meet again */
	return worse(outcome, ask_addresses(context, cpu, c.at, c.end, link.ethertype, both), cpu);
}

/* The one exit: counts what becomes of the frame. */
static __always_inline int gate(struct xdp_md *context, int both)
{
	__u32 key = 0, outcome;
	struct fx_gate_cpu *cpu = bpf_map_lookup_elem(&cpus, &key);

	if (!cpu)
		return XDP_PASS;
	outcome = ask(context, cpu, both);
	if (outcome < FX_GATE_COUNTS)
		cpu->counts[outcome]++;
	return outcome >= FX_GATE_FIRST_DROP ? XDP_DROP : XDP_PASS;
}

SEC("xdp.frags")
int fortress_gate(struct xdp_md *context)
{
	return gate(context, 0);
}

SEC("xdp.frags")
int fortress_gate_d(struct xdp_md *context)
{
	return gate(context, 1);
}

char _license[] SEC("license") = "Dual BSD/GPL";
