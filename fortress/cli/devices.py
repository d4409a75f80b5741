# SPDX-License-Identifier: Apache-2.0
"""`fortress devices`: who is on the network, and what each device may reach when."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fortress.cli.guard import add_guard_config
from fortress.cli.options import Commands, add_command, add_config, add_json, load_config
from fortress.errors import GuardError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fortress.config import Settings
    from fortress.devices.policy import DeviceRule
    from fortress.devices.table import Device
    from fortress.respond.answers import DeviceStanding
    from fortress.respond.client import GuardClient

_ANY = "02:00:00:00:00:00"  # stands for the device until it is found

POLICY = """\
Say or change what a device may reach. Policies: full; internet-only (no other
device); lan-only (no Internet); quarantined (the gateway and its DNS); paused
(nothing). With --during another one holds in a window of the week, in this
machine's time zone: --during 'sun-thu 21:00-07:00' paused. A change holds at
once, for connections that stand as well."""

NAME = """\
Give a device a name of your own; with --remove it has its own name again."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "devices", "who is on the network, what each may reach", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "list", "show devices, those seen last first", list_devices)
    _add_shared(verb)
    verb = add_command(verbs, "show", "show all that is known of a device", show)
    _add_device(verb)
    _add_shared(verb)
    verb = add_command(verbs, "name", "give a device a name", rename, NAME)
    _add_device(verb)
    named = verb.add_mutually_exclusive_group(required=True)
    named.add_argument("name", metavar="NAME", nargs="?", help="at most 64 characters")
    named.add_argument("--remove", action="store_true", help="take the name away")
    _add_shared(verb)
    verb = add_command(verbs, "policy", "say or change what a device may reach", policy, POLICY)
    _add_device(verb)
    verb.add_argument("policy", metavar="POLICY", nargs="?", help="default: say what holds")
    verb.add_argument(
        "--during",
        metavar=("WHEN", "POLICY"),
        nargs=2,
        action="append",
        default=[],
        help="a window in which another policy holds; may be given several times",
    )
    verb.add_argument("--force", action="store_true", help="even where it may lock an operator out")
    _add_shared(verb)


def list_devices(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.cli.device_lines import plain, table

    rules = _rules(arguments)
    devices = _known(load_config(arguments).settings, rules or ())
    if arguments.json:
        for device in devices:
            print(json.dumps(plain(device, rules), ensure_ascii=False))
    elif devices:
        sys.stdout.writelines(f"{line}\n" for line in table(devices, rules, time.time()))
    else:
        print("no device has been seen")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.cli.device_lines import lines, plain

    rules = _rules(arguments)
    device = _find(arguments.device, _known(load_config(arguments).settings, rules or ()))
    if arguments.json:
        print(json.dumps(plain(device, rules), ensure_ascii=False))
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines(device, rules))
    return 0


def rename(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.devices.words import parse_name
    from fortress.store import Store

    settings = load_config(arguments).settings
    if not settings.store.enabled:
        raise UsageError("names are kept in the store, and store.enabled is false")
    device = _find(arguments.device, _known(settings))
    try:
        name = "" if arguments.remove else parse_name(arguments.name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    with Store(settings.store_url()) as store:
        store.name_device(device.mac, name)
    if arguments.json:
        print(json.dumps({"mac": device.mac, "name": name}, ensure_ascii=False))
    else:
        print(f"{device.mac} is called {name}" if name else f"{device.mac} has no name any more")
    return 0


def policy(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.cli.device_lines import plain_rule, rule_lines

    if arguments.policy is None and (arguments.during or arguments.force):
        raise UsageError("name the policy that holds outside of the windows, such as full")
    # a wrong word is told before anyone is asked
    wanted = None if arguments.policy is None else _wanted(arguments)
    with _guard(arguments) as guard:
        rules = [one.rule.mac for one in guard.devices()]
        device = _find(arguments.device, _known(load_config(arguments).settings, rules))
        if wanted is None:
            standing = guard.devices([device.mac])[0]
        else:
            standing = guard.set_devices([replace(wanted, mac=device.mac)])[0]
    if arguments.json:
        print(json.dumps({"mac": device.mac, "policy": plain_rule(standing)}, ensure_ascii=False))
        return 0
    print(f"{'device':<13} {device.shown_name or device.mac}")
    sys.stdout.writelines(f"{line}\n" for line in rule_lines(device.mac, {device.mac: standing}))
    return 0


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="its MAC, an address of it or its name")


def _add_shared(parser: argparse.ArgumentParser) -> None:
    add_json(parser, "print one JSON object for each line")
    add_config(parser)
    add_guard_config(parser)


# ---- what is known ----


def _known(settings: Settings, ruled: Iterable[str] = ()) -> tuple[Device, ...]:
    """What the store has, with what kernel and leases tell now, and MACs that have a rule."""
    from fortress.devices.table import Device, DeviceTable
    from fortress.devices.vendors import Vendors
    from fortress.devices.watch import DeviceWatch
    from fortress.devices.words import is_randomized

    chosen = settings.devices
    table = DeviceTable(Vendors(chosen.vendors), chosen.most)
    table.load(_stored(settings))
    try:
        with DeviceWatch(table, chosen.leases, chosen.interfaces) as watch:
            watch.look()
    except OSError as error:
        _note(f"the kernel's neighbours cannot be asked: {error.strerror}")
    else:
        for trouble in watch.troubles:
            _note(trouble)
    known = table.devices()
    macs = {one.mac for one in known}
    unseen = (Device(mac, randomized=is_randomized(mac)) for mac in ruled if mac not in macs)
    return (*known, *unseen)


def _stored(settings: Settings) -> Sequence[Device]:
    """Devices of the store, none where there is none yet: looking makes no file."""
    from pathlib import Path

    url = settings.store_url()
    file = url.partition("sqlite:///")[2]
    if not settings.store.enabled or (file and not Path(file).exists()):
        return ()
    from fortress.store import Store

    with Store(url) as store:
        return store.devices()


def _find(text: str, devices: Sequence[Device]) -> Device:
    """The device that text names; UsageError names those it may mean."""
    import difflib

    from fortress.devices.words import parse_mac, shown

    word = text.strip().lower()
    try:
        word = parse_mac(word)
    except ValueError as error:
        if word.count(":") == 5 or word.count("-") == 5:
            raise UsageError(str(error)) from None
    found = [one for one in devices if one.mac == word or word in one.addresses]
    found = found or [one for one in devices if one.name.lower() == word]
    found = found or [one for one in devices if one.host_name.lower() == word]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{shown(text)} may be any of {', '.join(one.mac for one in found)}: name the MAC"
        )
    names = {one.shown_name.lower(): one.shown_name for one in devices if one.shown_name}
    near = difflib.get_close_matches(word, [*names, *(one.mac for one in devices)], n=1)
    hint = f"did you mean {names.get(near[0], near[0])}?" if near else "see `fortress devices list`"
    raise UsageError(f"no device is known as {shown(text)}: {hint}")


# ---- policies ----


def _guard(arguments: argparse.Namespace) -> GuardClient:
    from fortress.respond.client import GuardClient
    from fortress.respond.guard_settings import load_settings

    return GuardClient(load_settings(arguments.guard_config).socket)


def _rules(arguments: argparse.Namespace) -> Mapping[str, DeviceStanding] | None:
    """What the guard enforces by MAC, None where no guard answers."""
    try:
        with _guard(arguments) as guard:
            return {one.rule.mac: one for one in guard.devices()}
    except GuardError as error:
        _note(f"policies are not known: {error}")
        return None


def _wanted(arguments: argparse.Namespace) -> DeviceRule:
    """The rule that the words ask for, of no device yet."""
    from fortress.devices.policy import DeviceRule, parse_policy, parse_window

    try:
        windows = tuple(parse_window(which, when) for when, which in arguments.during)
        return DeviceRule(_ANY, parse_policy(arguments.policy), windows, arguments.force)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _note(text: str) -> None:
    print(f"fortress: {text}", file=sys.stderr)
