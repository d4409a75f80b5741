# SPDX-License-Identifier: Apache-2.0
"""Who claims which address on the link: ARP and neighbour discovery, who asked, and who contradicts
whom.

Whoever sends a frame makes the claim in it, whatever MAC is written into the claim: anybody can
write another device's there. The first MAC that claims an address is its holder; the holder changes
when it has been silent for HANDOVER_S. A claim by another MAC is a rival's. A reply that nobody
asked for within ASKED_S is unrequested (announcements of one's own address, where sender and target
are the same, are not counted).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fortress.features.keys import (
    ABSENT,
    Addresses,
    Bool,
    KeyTable,
    Slots,
    UInt64,
    address_key,
    group,
    is_among,
    words,
)
from fortress.features.panes import MINUTE, SECOND, Panes
from fortress.features.rows import Attempts, Columns, Table

REQUEST, REPLY, SOLICITATION, ADVERTISEMENT = 1, 2, 135, 136
HANDOVER_S = 300
ASKED_S = 5
DISPUTE_S = 300
PACKET_COLUMNS = (
    "time_ns", "src_addr", "dst_addr", "src_mac", "dst_mac", "arp_mac", "arp_op", "iface",
)  # fmt: skip
CLAIMS = {
    "row": "number of a packet row of the tick in which the guilty side makes its claim",
    "guilty_mac": "the side with more unrequested replies, else the rival",
    "other_mac": "the other side, 0 = nobody contradicts",
    "guilty_claims": "claims of the guilty side, last minute",
    "disputed": "1 = another MAC claimed the address within the last five minutes, too",
    "unrequested": "replies of the guilty side that nobody asked for, last minute",
    "gateway": "1 = the address is the gateway's",
    "guilty_addresses": "addresses the guilty MAC holds or disputes",
    "own_high": "first word of an address the guilty MAC holds undisputed, 0 with own_low = none",
    "own_low": "second word of that address",
}
# Redundant gateways share an address by design: VRRP and CARP, HSRP versions 1 and 2, GLBP
# (prefix, bits after it).
_SHARED = (
    (0x00005E0001, 8),
    (0x00005E0002, 8),
    (0x00000C07AC, 8),
    (0x00000C9FF, 12),
    (0x0007B400, 16),
)
_MOST_ACCUSED = 64
_GROUP_BIT = np.uint64(1 << 40)
_HOLDER, _HOLDER_UNASKED, _RIVAL, _RIVAL_UNASKED = range(4)
_UNSPECIFIED_V4 = np.uint64(0xFFFF << 32)


class ClaimWindows:
    """Holders and rivals of each address; the table CLAIMS for those somebody disputes or announces
    unasked.
    """

    def __init__(self, secret: int, capacity: int = 4096) -> None:
        self._secret = secret
        self.table = KeyTable(capacity)
        self._asked = KeyTable(capacity)
        self._high = np.zeros(capacity, np.uint64)
        self._low = np.zeros(capacity, np.uint64)
        self._holder = np.zeros(capacity, np.uint64)
        self._rival = np.zeros(capacity, np.uint64)
        self._spoke_ns = np.zeros(capacity, np.int64)  # when the holder last claimed
        self._rival_ns = np.zeros(capacity, np.int64)  # when the rival did
        self._panes = Panes(capacity, 4, MINUTE)

    @property
    def memory_bytes(self) -> int:
        """What the table holds at most."""
        return self._panes.memory_bytes + (88 + 24) * self.table.capacity

    def observe(self, packets: Columns, gateways: UInt64, ns: int) -> Table:
        """The rows of CLAIMS of a tick; `gateways` are the MACs that packets from elsewhere come
        from.
        """
        op, mac = packets["arp_op"], claimant(packets)
        target = words(packets["dst_addr"])
        asks = np.flatnonzero(op == REQUEST)
        if len(asks):
            asked = group(address_key(self._secret, target.take(asks)))
            self._asked.admit(asked, ns)

        sender = words(packets["src_addr"])
        row = np.flatnonzero((op != 0) & (mac != 0) & _is_specified(sender) & ~_is_shared(mac))
        if not len(row):
            return {}
        keys = address_key(self._secret, sender.take(row))
        same = group(keys)
        slots, fresh = self.table.admit(same, ns)
        if len(fresh):
            begun = is_among(slots, fresh)
            first = row[same.first[begun]]
            self._high[slots[begun]], self._low[slots[begun]] = (
                sender.high[first],
                sender.low[first],
            )
            self._begin(slots[begun], mac[first], ns)
        of_row = slots[same.of_row]
        heard = of_row != ABSENT
        row, keys, of_row, mac = row[heard], keys[heard], of_row[heard], mac[row[heard]]

        rival = self._take_sides(of_row, mac, ns)
        other_target = (target.low[row] != sender.low[row]) | (target.high[row] != sender.high[row])
        unasked = (op[row] == REPLY) & other_target & ~self._was_asked(keys, ns)
        worth = unasked | (self._rival[of_row] != 0)  # nobody disputes the rest
        if not worth.any():
            return {}
        of_row, row, rival, unasked = of_row[worth], row[worth], rival[worth], unasked[worth]
        touched, of_row = np.unique(of_row, return_inverse=True)
        self._count(touched, of_row, rival, unasked, ns)
        return self._read(touched, of_row, row, rival, gateways, ns)

    def asking(self, packets: Columns) -> Attempts:
        """Requests and solicitations as attempts to reach an address by ARP (`row` is -1 - the
        packet row), once `observe` has seen them.
        """
        op = packets["arp_op"]
        sender, target = words(packets["src_addr"]), words(packets["dst_addr"])
        asks = (op == REQUEST) | (op == SOLICITATION)
        tells = (op == REPLY) | (op == ADVERTISEMENT)
        between = (sender.low != target.low) & _is_specified(sender) & _is_specified(target)
        row = np.flatnonzero((asks | tells) & between)
        ask, count = asks[row], len(row)
        sender, target = sender.take(row), target.take(row)
        return Attempts(
            row=-1 - row,
            source=_either(ask, sender, target),
            mac=np.where(ask, packets["src_mac"][row], self._told(packets["dst_mac"][row], target)),
            target=_either(ask, target, sender),
            proto=np.zeros(count, np.uint64),
            port=np.zeros(count, np.uint64),
            failed=np.where(ask, np.float32(1), np.float32(-1)),
            fine=(~ask).astype(np.float32),
            odd=np.zeros(count, np.float32),
        )

    def _told(self, to_mac: UInt64, target: Addresses) -> UInt64:
        """Whom answers are for: of those that are sent to all it is who has the address."""
        to_all = (to_mac == 0) | ((to_mac & _GROUP_BIT) != 0)
        if not to_all.any():
            return to_mac
        slots = self.table.find(address_key(self._secret, target))
        return np.where(to_all & (slots != ABSENT), self._holder[slots], to_mac)

    def holder(self, address: Addresses) -> int:
        """The MAC that holds one address, 0 = nobody has claimed it lately or two do."""
        slot = int(self.table.find(address_key(self._secret, address))[0])
        if slot == ABSENT or self._rival[slot]:
            return 0
        return int(self._holder[slot])

    def clear(self) -> None:
        """Forgets everything heard."""
        self.table.clear()
        self._asked.clear()
        self._holder[:] = 0

    def _begin(self, slots: Slots, holders: UInt64, ns: int) -> None:
        self._holder[slots] = holders
        self._rival[slots] = 0
        self._spoke_ns[slots] = ns
        self._panes.forget(slots)

    def _take_sides(self, of_row: Slots, mac: UInt64, ns: int) -> Bool:
        rival = mac != self._holder[of_row]
        if rival.any():
            lapsed = rival & (ns - self._spoke_ns[of_row] > HANDOVER_S * SECOND)
            self._begin(of_row[lapsed], mac[lapsed], ns)
            rival = mac != self._holder[of_row]
        self._spoke_ns[of_row[~rival]] = ns
        self._rival[of_row[rival]] = mac[rival]
        self._rival_ns[of_row[rival]] = ns
        return np.asarray(rival, np.bool_)

    def _was_asked(self, keys: UInt64, ns: int) -> Bool:
        slots = self._asked.find(keys)
        recent = ns - self._asked.last_tick[slots] <= ASKED_S * SECOND
        full = self._asked.refusals > 0 and len(self._asked) == self._asked.capacity
        return np.asarray(np.where(slots == ABSENT, full, recent), np.bool_)

    def _count(self, touched: Slots, of_row: Slots, rival: Bool, unasked: Bool, ns: int) -> None:
        counts = np.zeros((len(touched), 4), np.float32)
        for column, chosen in (
            (_HOLDER, ~rival),
            (_HOLDER_UNASKED, ~rival & unasked),
            (_RIVAL, rival),
            (_RIVAL_UNASKED, rival & unasked),
        ):
            counts[:, column] = np.bincount(of_row[chosen], minlength=len(touched))
        self._panes.add(touched, counts, ns)

    def _read(
        self, slots: Slots, of_row: Slots, row: Slots, rival: Bool, gateways: UInt64, ns: int
    ) -> Table:
        minute = self._panes.totals(slots, ns)[0]
        disputed = ns - self._rival_ns[slots] <= DISPUTE_S * SECOND
        disputed &= (self._rival[slots] != 0) & (ns - self._spoke_ns[slots] <= DISPUTE_S * SECOND)
        by_rival = disputed & (minute[:, _RIVAL_UNASKED] >= minute[:, _HOLDER_UNASKED])
        sample = np.full(len(slots), ABSENT, np.intp)
        guilty_row = rival == by_rival[of_row]
        sample[of_row[guilty_row]] = row[guilty_row]
        unrequested = np.where(by_rival, minute[:, _RIVAL_UNASKED], minute[:, _HOLDER_UNASKED])
        chosen = np.flatnonzero((sample != ABSENT) & (disputed | (unrequested > 0)))
        if len(chosen) > _MOST_ACCUSED:  # a storm: the most insistent stand for it
            order = np.argsort(-unrequested[chosen], kind="stable")
            chosen = np.sort(chosen[order[:_MOST_ACCUSED]])
        slots, by_rival, minute = slots[chosen], by_rival[chosen], minute[chosen]
        holder, challenger = self._holder[slots], self._rival[slots]
        guilty = np.where(by_rival, challenger, holder)
        other = np.where(disputed[chosen], np.where(by_rival, holder, challenger), np.uint64(0))
        addresses, own = self._held(guilty)
        return {
            "row": sample[chosen],
            "guilty_mac": guilty,
            "other_mac": other,
            "guilty_claims": np.where(by_rival, minute[:, _RIVAL], minute[:, _HOLDER]),
            "disputed": disputed[chosen],
            "unrequested": unrequested[chosen],
            "gateway": is_among(guilty, gateways) | is_among(other, gateways),
            "guilty_addresses": addresses,
            "own_high": np.where(own == ABSENT, 0, self._high[own]),
            "own_low": np.where(own == ABSENT, 0, self._low[own]),
        }

    def _held(self, macs: UInt64) -> tuple[npt.NDArray[np.int64], Slots]:
        """How many addresses each MAC holds or disputes; a slot it holds undisputed, or ABSENT."""
        count, own = np.zeros(len(macs), np.int64), np.full(len(macs), ABSENT, np.intp)
        for number, mac in enumerate(macs):  # few: those accused in this tick
            holds = self._holder == mac
            count[number] = np.count_nonzero(holds) + np.count_nonzero(self._rival == mac)
            holds &= self._rival == 0
            slot = int(holds.argmax())
            own[number] = slot if holds[slot] else ABSENT
        return count, own


def claimant(packets: Columns) -> UInt64:
    """Who makes the claim of each row: the frame's sender, where the link has senders; 0 = nobody
    claims anything.
    """
    said, sent = packets["arp_mac"], packets["src_mac"]
    shared = _is_shared(said)  # of redundant gateways the one that works speaks for all
    return np.where((said == 0) | (sent == 0) | shared, said, sent)


def _either(first: Bool, one: Addresses, other: Addresses) -> Addresses:
    return Addresses(np.where(first, one.high, other.high), np.where(first, one.low, other.low))


def _is_specified(address: Addresses) -> Bool:
    nobody = (address.high == 0) & (address.low == _UNSPECIFIED_V4)
    return np.asarray((address.low != 0) & ~nobody, np.bool_)


def _is_shared(mac: UInt64) -> Bool:
    shared = np.zeros(len(mac), np.bool_)
    for prefix, bits in _SHARED:
        shared |= (mac >> np.uint64(bits)) == np.uint64(prefix)
    return shared
