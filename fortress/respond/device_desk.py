# SPDX-License-Identifier: Apache-2.0
"""The guard's keeping of device policies: what was asked for, what holds now, what the kernel has.

Rules are kept in a file, written beside and renamed. Schedules are the guard's to follow, so that
they hold when the agent is dead; what the kernel was told last holds when the guard is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fortress.devices.policy import DeviceRule, told, when_told
from fortress.devices.schedule import BoxZone, in_force, next_change_s
from fortress.errors import GuardError
from fortress.respond.answers import DeviceList, DeviceStanding, GuardEvent
from fortress.respond.block import parse_target
from fortress.respond.device_rules import Lan, Restricted
from fortress.respond.device_tables import DeviceTables
from fortress.respond.ledger import Clocks
from fortress.respond.messages import SetDevices
from fortress.respond.never_block import ALWAYS, NeverBlock, Spared
from fortress.respond.spared import from_session

if TYPE_CHECKING:
    from fortress.respond.audit import Audit
    from fortress.respond.device_file import DeviceFile
    from fortress.respond.judge import Asker

MOST_RULES = 1024
LOOK_EVERY_S = 30.0  # clocks are set, and zones change
RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the desk must know of the network: `macs` of the addresses that neighbours have."""

    lan: Lan = field(default_factory=Lan)
    macs: Mapping[str, str] = field(default_factory=dict)


class DeviceDesk:
    """Holds device rules, and makes tables of nftables follow them and the clock."""

    def __init__(
        self,
        file: DeviceFile,
        tables: DeviceTables,
        audit: Audit,
        clocks: Clocks | None = None,
        zone: BoxZone | None = None,
    ) -> None:
        self._file, self._tables, self._audit = file, tables, audit
        self._clocks, self._zone = clocks or Clocks(), zone or BoxZone()
        self.tell: Callable[[GuardEvent], None] = lambda _: None
        self._rules = file.load()
        self._never, self._around = NeverBlock(()), Surroundings()
        self._spared: tuple[Spared, ...] = ()
        self._due_s = self._looked_s = 0.0

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with file and tables."""
        return (*self._file.troubles, *self._tables.troubles)

    # ---- what is asked for ----

    def put(self, asked: SetDevices, asker: Asker) -> DeviceList:
        """Puts rules in the place of those of the same devices; GuardError, and nothing done, when
        one of them may not be.
        """
        if not asker.operator:
            raise GuardError(
                f"{asker.name} may not change what devices may reach",
                "be root, or in the group access.operators of guard.toml",
            )
        session = from_session({"SSH_CONNECTION": asked.session})
        for rule in asked.rules:
            self._check(rule, session)
        before = self._rules
        both = {**before, **{rule.mac: rule for rule in asked.rules}}
        after = {mac: rule for mac, rule in both.items() if not rule.is_plain}
        if len(after) > max(MOST_RULES, len(before)):
            raise GuardError(
                f"{len(after)} devices would have a policy, {MOST_RULES} can",
                "give devices that are gone the policy full",
            )
        self._file.save(after)
        self._rules = after
        try:
            self._follow()
        except GuardError:
            self._rules = before
            self._file.save(before)
            raise
        self._tell_of(asked.rules, asker)
        return self.standing(tuple(rule.mac for rule in asked.rules))

    def standing(self, macs: Iterable[str] = ()) -> DeviceList:
        """What holds for these devices, for all that have a rule when none are named."""
        now_s, zone = self._clocks.wall_s(), self._zone.now()
        addresses = self._addresses()
        found = []
        for mac in tuple(macs) or tuple(self._rules):
            rule = self._rules.get(mac) or DeviceRule(mac, "full")
            held_off = self._held_off(rule, addresses)
            policy = "full" if held_off else in_force(rule, now_s, zone)
            change_s = next_change_s(rule, now_s, zone)
            found.append(DeviceStanding(rule, policy, change_s, held_off))
        return DeviceList(tuple(found))

    # ---- what happens by itself ----

    def see(self, never: NeverBlock, around: Surroundings) -> None:
        """Takes in the network as it is now, and follows it; GuardError when the kernel refuses."""
        self._never, self._around = never, around
        self._spared = tuple(one for one in never.spared if one not in ALWAYS)
        self._follow()

    def pass_time(self) -> None:
        """Follows schedules and the clock; GuardError when the kernel refuses."""
        if self.due_s() <= 0:
            self._follow()

    def due_s(self) -> float:
        """Seconds until schedules must be looked at."""
        if not any(rule.windows for rule in self._rules.values()):
            return LOOK_EVERY_S
        now_s = self._clocks.wall_s()
        return 0.0 if now_s < self._looked_s else max(0.0, self._due_s - now_s)

    def rebuild(self) -> None:
        """Makes the tables anew, whatever became of them; GuardError when the kernel refuses."""
        self.forget()
        self._follow()

    def forget(self) -> None:
        """Somebody may have changed the tables: the next time they are made anew."""
        self._tables.forget()

    def close(self, *, keep: bool) -> None:
        """Lets go; what stands is kept or removed."""
        self._tables.close(keep=keep)

    # ---- how ----

    def _follow(self) -> None:
        now_s, zone = self._clocks.wall_s(), self._zone.now()
        self._looked_s, self._due_s = now_s, now_s + RETRY_S
        addresses = self._addresses()
        restricted = []
        for rule in self._rules.values():
            policy = in_force(rule, now_s, zone)
            if policy != "full" and not self._held_off(rule, addresses):
                restricted.append(
                    Restricted(rule.mac, policy, tuple(sorted(addresses.get(rule.mac, ()))))
                )
        self._tables.enforce(tuple(restricted), self._around.lan)
        changes = (next_change_s(rule, now_s, zone) for rule in self._rules.values())
        self._due_s = min([now_s + LOOK_EVERY_S, *(one for one in changes if one is not None)])

    def _addresses(self) -> dict[str, set[str]]:
        """Addresses that devices with a rule have now, as the kernel's neighbour table has them."""
        found: dict[str, set[str]] = {}
        for address, mac in self._around.macs.items():
            if mac in self._rules:
                found.setdefault(mac, set()).add(address)
        return found

    def _check(self, rule: DeviceRule, session: tuple[Spared, ...]) -> None:
        """GuardError when the rule would cut off what must not be."""
        if rule.is_plain:
            return
        if reason := self._never.refusal(parse_target(rule.mac)):
            raise GuardError(reason, "its policy stays full")
        if rule.forced:
            return
        for address, mac in self._around.macs.items():
            if mac == rule.mac and (reason := _spared_as((*self._spared, *session), address)):
                raise GuardError(
                    f"{rule.mac} has the address {address}: {reason}",
                    "--force does it all the same",
                )

    def _held_off(self, rule: DeviceRule, addresses: Mapping[str, set[str]]) -> str:
        """Why a rule is not followed now: what it would cut off came after it was made."""
        if rule.is_plain:
            return ""
        if reason := self._never.refusal(parse_target(rule.mac)):
            return reason
        if not rule.forced:
            for address in addresses.get(rule.mac, ()):
                if reason := _spared_as(self._spared, address):
                    return f"{address}: {reason}"
        return ""

    def _tell_of(self, rules: Iterable[DeviceRule], asker: Asker) -> None:
        facts: list[dict[str, object]] = []
        for rule in rules:
            windows = [f"{told(one.policy)} {when_told(one)}" for one in rule.windows]
            facts.append(
                {
                    "target": rule.mac,
                    "policy": rule.policy,
                    "windows": windows,
                    "forced": rule.forced,
                }
            )
            words = "; ".join([told(rule.policy), *windows])
            self.tell(GuardEvent("device", rule.mac, words, "operator"))
        self._audit.write("device_policy", facts, asker.name)


def _spared_as(spared: Iterable[Spared], address: str) -> str:
    """Why an address must not be cut off, nothing when it may be."""
    target = parse_target(address)
    for one in spared:
        known = one.target
        if known.version == target.version and known.first <= target.first <= known.last:
            return one.reason
    return ""
