# SPDX-License-Identifier: Apache-2.0
"""How devices and their policies are printed: a table of 80 columns, lines, and plain values."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from fortress.devices.policy import MEANINGS, told, when_told

if TYPE_CHECKING:
    from fortress.devices.table import Device
    from fortress.respond.answers import DeviceStanding

WIDTHS = {"name": 17, "mac": 17, "address": 15, "policy": 13, "seen": 10}  # 80 columns
UNKNOWN = "?"

Rules = Mapping[str, "DeviceStanding"]


def table(devices: Iterable[Device], rules: Rules | None, now_s: float) -> Iterator[str]:
    """A head and a line for each device."""
    yield _row({name: name.upper() for name in WIDTHS})
    for device in devices:
        yield _row(
            {
                "name": device.shown_name or "–",
                "mac": device.mac,
                "address": _main_address(device),
                "policy": _policy_told(device.mac, rules),
                "seen": _ago(device.last_seen_ns, now_s),
            }
        )


def lines(device: Device, rules: Rules | None) -> Iterator[str]:
    """All that is known of a device."""
    made_up = "made up by the device" if device.randomized else "unknown"
    facts = {
        "name": device.name or "–",
        "calls itself": device.host_name or "–",
        "mac": device.mac,
        "vendor": device.vendor or made_up,
        "first seen": _moment(device.first_seen_ns),
        "last seen": _moment(device.last_seen_ns),
        "lease": _lease(device),
        "interface": device.interface or "–",
    }
    for key, value in facts.items():
        yield f"{key:<13} {value}"
    for at, address in enumerate(device.addresses or ("–",)):
        yield f"{'' if at else 'addresses':<13} {address}"
    yield from rule_lines(device.mac, rules)


def _policy_told(mac: str, rules: Rules | None) -> str:
    if rules is None:
        return UNKNOWN
    return told(rules[mac].in_force) if mac in rules else "full"


def rule_lines(mac: str, rules: Rules | None) -> Iterator[str]:
    """What holds for a device."""
    if rules is None:
        yield f"{'policy':<13} {UNKNOWN}"
        return
    standing = rules.get(mac)
    if standing is None:
        yield f"{'policy':<13} full: {MEANINGS['full']}"
        return
    rule, now = standing.rule, standing.in_force
    until = f", until {_at(standing.change_s)}" if standing.change_s is not None else ""
    yield f"{'policy':<13} {told(now)}: {MEANINGS[now]}{until}"
    for at, one in enumerate(rule.windows):
        yield f"{'' if at else 'during':<13} {when_told(one)} {told(one.policy)}"
    if rule.windows:
        yield f"{'otherwise':<13} {told(rule.policy)}"
    if standing.held_off:
        yield f"{'not followed':<13} {standing.held_off}"


def plain(device: Device, rules: Rules | None) -> dict[str, object]:
    """A device as JSON has it; its policy is null where no guard answers."""
    standing = rules.get(device.mac) if rules is not None else None
    told: object = None
    if rules is not None:
        told = plain_rule(standing) if standing else {"in_force": "full", "policy": "full"}
    return {**asdict(device), "addresses": list(device.addresses), "policy": told}


def plain_rule(standing: DeviceStanding) -> dict[str, object]:
    """A rule and what holds now, as JSON has it."""
    rule = standing.rule
    return {
        "in_force": standing.in_force,
        "policy": rule.policy,
        "windows": [{"when": when_told(w), "policy": w.policy} for w in rule.windows],
        "forced": rule.forced,
        "change_s": standing.change_s,
        "held_off": standing.held_off,
    }


def _row(cells: Mapping[str, str]) -> str:
    """The cells at their widths: a wide character takes two columns, what is too long is cut."""
    from rich.cells import cell_len, set_cell_size

    parts = []
    for name, width in WIDTHS.items():
        text = cells[name]
        if cell_len(text) > width:
            text = set_cell_size(text, width - 1).rstrip() + "…"
        parts.append(set_cell_size(text, width))
    return "  ".join(parts).rstrip()


def _main_address(device: Device) -> str:
    """The newest IPv4 address, else the newest that is not link-local, else any."""
    four = [one for one in device.addresses if ":" not in one]
    six = [one for one in device.addresses if ":" in one and not one.startswith("fe80:")]
    return next(iter((*four, *six, *device.addresses)), "–")


def _ago(seen_ns: int | None, now_s: float) -> str:
    if seen_ns is None:
        return "never"
    seconds = max(0.0, now_s - seen_ns / 1e9)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "now"


def _moment(ns: int | None) -> str:
    return "never" if ns is None else _at(ns / 1e9)


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


def _lease(device: Device) -> str:
    if device.lease_until_s is None:
        return "none"
    return f"until {_at(device.lease_until_s)}" if device.lease_until_s else "without end"
