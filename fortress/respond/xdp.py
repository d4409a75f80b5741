# SPDX-License-Identifier: Apache-2.0
"""The XDP backend: blocks in the gate's maps, met before the kernel makes a packet of a frame.

The gate is attached only while it holds an entry, because native XDP turns super-frames of some
drivers into copies. Where an interface takes no XDP, nftables blocks there.
"""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.errors import GuardError
from fortress.respond.backend import Change, Desired, Entry, Feed, Place
from fortress.respond.block import Target
from fortress.respond.ledger import boot_id
from fortress.verdict import Action

if TYPE_CHECKING:
    from fortress_core.gate import Gate, GateEntry, GateKey

    from fortress.respond.nft_rules import LimitRates

MOST_PREFIXES = 16_384
_SECOND_NS = 1_000_000_000


class XdpBackend:
    """Blocks in the gate's maps. Alone it holds lists as well and refuses quarantine; beside
    nftables it leaves both to it.
    """

    name = "xdp"

    def __init__(
        self, rates: LimitRates, wan_ports: Sequence[str], most: int, state: Path, *, alone: bool
    ) -> None:
        from fortress_core.bpf_object import BpfError
        from fortress_core.gate import Gate, Rates

        self._alone, self._wan_ports = alone, tuple(wan_ports)
        self._rates = Rates(rates.syn_per_s, rates.udp_per_s, rates.icmp_per_s)
        self._errors = BpfError
        self._place = Place()
        self._held: dict[Target, Action] = {}
        self._lists: dict[Target, float] = {}
        self.troubles: list[str] = []
        try:
            burst_s = rates.burst_s
            self._gate: Gate = Gate.load(entries=most, prefixes=MOST_PREFIXES, burst_s=burst_s)
            self._before = self._program_numbers(state / "xdp_programs.json")
        except BpfError as error:
            raise _told(error) from error

    def rebuild(self, desired: Desired) -> None:
        """Make the maps hold what is desired, and look at the ports anew."""
        self._place = desired.place
        wanted = {one.target: one for one in desired.entries if self._takes(one.action)}
        gone = [target for target in self._held if target not in wanted]
        self._change(gone, wanted.values())
        self.load_feeds(desired.feeds)
        for ifindex in list(self._gate.attached):
            self._gate.detach(ifindex)
        self._follow()

    def apply(self, changes: Sequence[Change], prefixes: Callable[[], Iterable[Entry]]) -> None:
        """Put entries in and take entries out."""
        come, gone = [], []
        for change in changes:
            if change.after is not None and self._takes(change.after):
                come.append(Entry(change.target, change.after, change.left_s))
            elif change.after is not None and self._alone:
                raise GuardError("quarantine needs the nftables backend", 'name it in "backends"')
            elif change.target in self._held:
                gone.append(change.target)
        self._change(gone, come)
        self._follow()

    def load_feeds(self, feeds: Sequence[Feed]) -> None:
        """Replace what lists hold, where no other backend does."""
        if not self._alone:
            return
        wanted = {target: feed.left_s for feed in feeds for target in feed.targets}
        gone = [one for one in self._lists if one not in wanted and one not in self._held]
        come = [
            Entry(target, Action.BLOCK, left_s)
            for target, left_s in wanted.items()
            if target not in self._held
        ]
        self._write(gone, come)
        self._lists = wanted
        self._follow()

    def spare(self, targets: Sequence[Target]) -> None:
        """These pass, whatever entry fits them."""
        try:
            self._gate.never([_key(one) for one in targets])
        except self._errors as error:
            raise _told(error) from error

    def tidy(self) -> None:
        """Take out what is over; detach when nothing is left."""
        try:
            self._gate.sweep()
        except self._errors as error:
            raise _told(error) from error
        if self._gate.held == 0:
            self._held.clear()
            self._lists.clear()
        self._follow()

    def hits(self) -> Mapping[str, int]:
        """Frames that each entry refused."""
        return {str(entry.key): hits for entry, hits in self._gate.entries()}

    def close(self, *, keep: bool) -> None:
        """Leave the gate where it is attached until its entries are over, or take it off."""
        if keep:
            self._gate.leave()
        else:
            self._gate.close()

    def _takes(self, action: Action) -> bool:
        return action is not Action.QUARANTINE

    def _change(self, gone: Sequence[Target], come: Iterable[Entry]) -> None:
        coming = list(come)
        self._write(gone, coming)
        for target in gone:
            self._held.pop(target, None)
        self._held.update((one.target, one.action) for one in coming)

    def _write(self, gone: Sequence[Target], come: Sequence[Entry]) -> None:
        """New ones first: what does not fit leaves everything as it was."""
        try:
            if come:
                self._gate.add([self._entry(one) for one in come])
            if gone:
                self._gate.remove([_key(one) for one in gone])
        except self._errors as error:
            raise _told(error) from error

    def _entry(self, entry: Entry) -> GateEntry:
        from fortress_core.gate import GateEntry

        until_ns = 0
        if entry.left_s is not None:
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            until_ns = now_ns + max(1, round(entry.left_s * _SECOND_NS))
        if entry.action is Action.LIMIT:
            return GateEntry(_key(entry.target), "limit", until_ns, self._rates)
        return GateEntry(_key(entry.target), "drop", until_ns)

    def _follow(self) -> None:
        """Attached everywhere while there is an entry, nowhere else."""
        if self._gate.held == 0:
            for ifindex in list(self._gate.attached):
                self._gate.detach(ifindex)
            return
        for port in dict.fromkeys((*self._wan_ports, *self._place.ports)):
            with suppress(OSError):  # no such interface now: it is looked for when it comes
                ifindex = socket.if_nametoindex(port)
                if ifindex not in self._gate.attached:
                    self._attach(port, ifindex)

    def _attach(self, port: str, ifindex: int) -> None:
        try:
            lan = port in self._place.ports
            self._attach_or_replace(ifindex, lan)
        except self._errors as error:
            trouble = f"no XDP on {port}: {error}"
            if trouble not in self.troubles:
                self.troubles.append(trouble)

    def _attach_or_replace(self, ifindex: int, lan: bool) -> None:
        """Attaches; a program that a killed guard of ours left there is replaced, no other."""
        try:
            self._gate.attach(ifindex, destinations=lan, keeps_super_frames=True)
        except self._errors as error:
            if error.code != errno.EBUSY:
                raise
            for number in self._before:
                with suppress(self._errors):
                    self._gate.attach(ifindex, destinations=lan, replaces=number)
                    return
            raise

    def _program_numbers(self, file: Path) -> tuple[int, ...]:
        """The kernel's numbers of the programs of the guard before; ours are written down."""
        before: tuple[int, ...] = ()
        with suppress(OSError, ValueError):
            known = json.loads(file.read_text(encoding="ascii"))
            before = tuple(int(one) for one in known["programs"] if known["boot"] == boot_id())
        ours = [self._gate.program_id(destinations=one) for one in (False, True)]
        beside = file.with_suffix(".new")
        try:
            beside.write_text(json.dumps({"boot": boot_id(), "programs": ours}), encoding="ascii")
            beside.rename(file)
        except OSError as error:
            self.troubles.append(f"{file}: {error.strerror}; a later guard cannot replace the gate")
        return before


def _key(target: Target) -> GateKey:
    from fortress_core.gate import GateKey

    octets = {0: 6, 4: 4, 6: 16}[target.version]
    bits = target.bits if target.kind == "prefix" else 0
    return GateKey(target.kind, target.first.to_bytes(octets), bits)


def _told(error: Exception) -> GuardError:
    what, remedy = getattr(error, "what", str(error)), getattr(error, "remedy", "")
    return GuardError(str(what), str(remedy))
