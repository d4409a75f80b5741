# SPDX-License-Identifier: Apache-2.0
"""Who is on the network: a bounded table of devices, filled by whatever tells of them.

A flood of made-up MACs meets two rules. Devices with a DHCP lease, a name or a policy make room
last, the others in order of their last sighting; and a device is told to the store only when it is
one of those or has been seen for a minute.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from fortress.devices.dhcp import DhcpTold
from fortress.devices.leases import Lease
from fortress.devices.neighbours import Neighbour
from fortress.devices.vendors import Vendors
from fortress.devices.words import clean, is_randomized

MOST_DEVICES = 4096
MOST_ADDRESSES = 16  # of one device, v4 and v6 together: privacy addresses change daily
STAYED_NS = 60_000_000_000
SEEN_STEP_NS = 60_000_000_000  # a sighting alone is stored at most so often
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is known; times are nanoseconds of 1970, None where it was not yet seen.

    `addresses` come newest first; `name` is an operator's, `host_name` what it calls itself;
    `lease_until_s` is 0 for a lease without end, None where it holds none.
    """

    mac: str
    first_seen_ns: int | None = None
    last_seen_ns: int | None = None
    addresses: tuple[str, ...] = ()
    name: str = ""
    host_name: str = ""
    vendor: str = ""
    randomized: bool = False
    lease_until_s: int | None = None
    vendor_class: str = ""
    fingerprint: str = ""
    interface: str = ""

    @property
    def shown_name(self) -> str:
        """The operator's name, else its own, else nothing."""
        return self.name or self.host_name


@dataclass(frozen=True, slots=True)
class Told:
    """What the store has to be told: devices as they are now, and MACs that made room."""

    changed: tuple[Device, ...] = ()
    gone: tuple[str, ...] = ()


@dataclass(slots=True)
class _Known:
    mac: str
    first_seen_ns: int | None = None
    last_seen_ns: int | None = None
    told_seen_ns: int = 0
    addresses: OrderedDict[str, None] = field(default_factory=OrderedDict)
    name: str = ""
    host_name: str = ""
    lease_until_s: int | None = None
    vendor_class: str = ""
    fingerprint: str = ""
    interface: str = ""
    stored: bool = False

    def stays(self) -> bool:
        """Whether it makes room last, and is stored at once."""
        return bool(self.name) or self.lease_until_s is not None

    def is_worth_storing(self) -> bool:
        """Whether it is more than a MAC that came by."""
        if self.stays() or self.stored:
            return True
        first_ns, last_ns = self.first_seen_ns, self.last_seen_ns
        return first_ns is not None and last_ns is not None and last_ns - first_ns >= STAYED_NS


class DeviceTable:
    """Devices by MAC; `evicted` counts those that made room, `refused` those that found none."""

    def __init__(
        self, vendors: Vendors | None = None, most: int = MOST_DEVICES, keep: Iterable[str] = ()
    ) -> None:
        self._vendors, self._most = vendors or Vendors(None), most
        self._passing: OrderedDict[str, _Known] = OrderedDict()
        self._staying: OrderedDict[str, _Known] = OrderedDict()
        self._changed: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._keep = frozenset(keep)
        self.evicted = self.refused = 0

    def __len__(self) -> int:
        return len(self._passing) + len(self._staying)

    def load(self, devices: Iterable[Device]) -> None:
        """Takes in devices as they were stored, beside what is known of them already."""
        for one in sorted(devices, key=lambda one: one.last_seen_ns or 0):
            known = self._find(one.mac)
            if known is None:
                return
            known.stored = True
            known.name = one.name
            known.host_name = known.host_name or one.host_name
            known.interface = known.interface or one.interface
            firsts = [ns for ns in (known.first_seen_ns, one.first_seen_ns) if ns is not None]
            lasts = [ns for ns in (known.last_seen_ns, one.last_seen_ns) if ns is not None]
            known.first_seen_ns = min(firsts, default=None)
            known.last_seen_ns = max(lasts, default=None)
            known.told_seen_ns = one.last_seen_ns or 0
            if known.lease_until_s is None:
                known.lease_until_s = one.lease_until_s
            known.vendor_class = known.vendor_class or one.vendor_class
            known.fingerprint = known.fingerprint or one.fingerprint
            heard = list(known.addresses)
            stored = [text for text in reversed(one.addresses) if text not in known.addresses]
            known.addresses = OrderedDict.fromkeys((*stored, *heard)[-MOST_ADDRESSES:])
            self._place(known)

    def keep(self, macs: Iterable[str]) -> None:
        """These never make room: they have a policy."""
        self._keep = frozenset(macs)

    def named(self, names: Iterable[tuple[str, str]]) -> None:
        """Takes in the names that operators have given meanwhile."""
        for mac, name in names:
            known = self._get(mac)
            if known is not None and known.name != name:
                known.name = name
                self._place(known)

    def see(self, mac: str, now_ns: int, address: str = "", interface: str = "") -> None:
        """A frame or a neighbour entry shows the device (with an address) at a moment."""
        known = self._find(mac)
        if known is None:
            return
        if known.first_seen_ns is None:
            known.first_seen_ns = now_ns
            self._changed[mac] = None
        if known.last_seen_ns is None or now_ns > known.last_seen_ns:
            known.last_seen_ns = now_ns
            self._find_place(known).move_to_end(mac)
            if now_ns - known.told_seen_ns >= SEEN_STEP_NS:
                self._changed[mac] = None
        if interface and interface != known.interface:
            known.interface = interface
            self._changed[mac] = None
        if address:
            self._address(known, address)

    def see_neighbour(self, told: Neighbour, interface: str, now_ns: int) -> None:
        """The kernel's neighbour table tells of it: seen when it was last confirmed, or now where
        the entry is new to us.
        """
        known = self._get(told.mac)
        new = known is None or told.address not in known.addresses
        if told.alive and (new or told.confirmed_ago_s is not None):
            ago_s = 0.0 if new or told.confirmed_ago_s is None else told.confirmed_ago_s
            self.see(told.mac, now_ns - int(ago_s * _NS), told.address, interface)

    def leases(self, leases: Iterable[Lease]) -> None:
        """These are all leases: who holds one is named by it, which does not say it is here now."""
        holders: set[str] = set()
        for lease in leases:
            known = self._find(lease.mac)
            if known is None:
                continue
            holders.add(lease.mac)
            before = (known.lease_until_s, known.host_name)
            known.lease_until_s = lease.until_s
            known.host_name = lease.name or known.host_name
            self._place(known)
            if before != (known.lease_until_s, known.host_name):
                self._changed[lease.mac] = None
            self._address(known, lease.address)
        for known in [one for one in self._staying.values() if one.mac not in holders]:
            if known.lease_until_s is not None:
                known.lease_until_s = None
                self._changed[known.mac] = None
                self._place(known)

    def dhcp(self, told: DhcpTold, now_ns: int, interface: str = "") -> None:
        """It asks for an address, and tells its name and kind."""
        self.see(told.mac, now_ns, "", interface)
        known = self._get(told.mac)
        if known is None:
            return
        for key, value in (
            ("host_name", told.host_name),
            ("vendor_class", clean(told.vendor_class)),
            ("fingerprint", told.fingerprint),
        ):
            if value and getattr(known, key) != value:
                setattr(known, key, value)
                self._changed[told.mac] = None

    def devices(self) -> tuple[Device, ...]:
        """All devices, those seen last first."""
        known = (*self._staying.values(), *self._passing.values())
        return tuple(
            self._told(one)
            for one in sorted(known, key=lambda one: one.last_seen_ns or 0, reverse=True)
        )

    def take_changes(self) -> Told:
        """What the store has to be told since the last time."""
        changed = []
        waiting: dict[str, None] = {}
        for mac in self._changed:
            known = self._get(mac)
            if known is None:
                continue
            if known.is_worth_storing() or mac in self._keep:
                known.stored, known.told_seen_ns = True, known.last_seen_ns or 0
                changed.append(self._told(known))
            else:
                waiting[mac] = None
        gone = tuple(self._gone)
        self._changed, self._gone = waiting, {}
        return Told(tuple(changed), gone)

    def take_back(self, told: Told) -> None:
        """The store could not be told: it is told again the next time."""
        self._changed |= {one.mac: None for one in told.changed if self._get(one.mac)}
        self._gone |= {mac: None for mac in told.gone if self._get(mac) is None}

    def _told(self, known: _Known) -> Device:
        return Device(
            known.mac,
            known.first_seen_ns,
            known.last_seen_ns,
            tuple(reversed(known.addresses)),
            known.name,
            known.host_name,
            self._vendors.of(known.mac),
            is_randomized(known.mac),
            known.lease_until_s,
            known.vendor_class,
            known.fingerprint,
            known.interface,
        )

    def _address(self, known: _Known, address: str) -> None:
        if address not in known.addresses:
            self._changed[known.mac] = None
        known.addresses[address] = None
        known.addresses.move_to_end(address)
        if len(known.addresses) > MOST_ADDRESSES:
            known.addresses.popitem(last=False)

    def _get(self, mac: str) -> _Known | None:
        return self._staying.get(mac) or self._passing.get(mac)

    def _find(self, mac: str) -> _Known | None:
        """The device, made where there is none; None where there is no room for it."""
        known = self._get(mac)
        if known is None:
            if len(self) >= self._most and not self._make_room():
                self.refused += 1
                return None
            known = self._passing[mac] = _Known(mac)
            self._gone.pop(mac, None)
        return known

    def _make_room(self) -> bool:
        for group in (self._passing, self._staying):
            for mac, known in group.items():  # oldest sighting first
                if mac in self._keep or known.name:
                    continue
                del group[mac]
                self._changed.pop(mac, None)
                if known.stored:
                    self._gone[mac] = None
                self.evicted += 1
                return True
        return False

    def _find_place(self, known: _Known) -> OrderedDict[str, _Known]:
        return self._staying if known.mac in self._staying else self._passing

    def _place(self, known: _Known) -> None:
        """Moves it to the group it belongs to."""
        here = self._find_place(known)
        right = self._staying if known.stays() else self._passing
        if here is not right:
            del here[known.mac]
            right[known.mac] = known
