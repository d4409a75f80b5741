# SPDX-License-Identifier: Apache-2.0
"""`fortress block`: block and unblock by hand, and see what is blocked and why."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.cli.guard import add_guard_config
from fortress.cli.options import Commands, add_command, add_json
from fortress.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fortress.respond.block import Block, Outcome, Standing
    from fortress.respond.client import GuardClient

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")
REFUSED = 1
LISTS = Path("/var/lib/fortress/feeds")

ADD = """\
Block addresses, prefixes or MACs. They stay blocked until the time is over, until
`fortress block del` or `fortress block undo`, whatever becomes of the agent. Exit
code 1: the guard refused one of them, and says why."""


LOAD = """\
Fetch a block list when it has changed, and hand it to the guard, which replaces the
entries of this name in one transaction. A list that is empty, unreadable or has
shrunk by more than 30 % is refused and the last good one stands."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "block", "block and unblock by hand", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "add", "block addresses, prefixes or MACs", block, ADD)
    verb.add_argument("targets", metavar="TARGET", nargs="+", help="- reads them from stdin")
    verb.add_argument(
        "--for",
        dest="seconds",
        metavar="TIME",
        type=duration_s,
        help="90s, 15m, 2h, 7d; default: no end",
    )
    verb.add_argument("--why", metavar="TEXT", default="", help="the reason, for the audit")
    verb.add_argument(
        "--limit", action="store_true", help="limit new connections and floods, do not drop all"
    )
    verb.add_argument("--yes", action="store_true", help="confirm a large number of targets")
    _add_shared(verb)
    verb = add_command(verbs, "del", "unblock", unblock)
    verb.add_argument("targets", metavar="TARGET", nargs="+", help="as `fortress block list` shows")
    verb.add_argument("--why", metavar="TEXT", default="", help="the reason, for the audit")
    _add_shared(verb)
    verb = add_command(verbs, "list", "show what is blocked, for how long and why", show)
    _add_shared(verb)
    verb = add_command(verbs, "undo", "take your last add, del or undo back", undo)
    _add_shared(verb)
    verb = add_command(verbs, "load", "replace the entries of a block list", load, LOAD)
    verb.add_argument("name", metavar="NAME", help="the list's name in guard.toml: [feeds.NAME]")
    verb.add_argument("source", metavar="URL|FILE", help="http(s) address, or a file")
    verb.add_argument(
        "--for",
        dest="seconds",
        metavar="TIME",
        type=duration_s,
        help="how long it stands unless it is loaded again; default: 3d",
    )
    verb.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        default=LISTS,
        help="where the last good one is kept; default: /var/lib/fortress/feeds",
    )
    _add_shared(verb)
    verb = add_command(verbs, "explain", "say all that holds for a target", explain)
    verb.add_argument("target", metavar="TARGET")
    _add_shared(verb)


def duration_s(text: str) -> float:
    """Seconds of a time such as 90s, 15m, 2h or 7d; argparse's error when it is none."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 90s, 15m, 2h, 7d")
    return float(found[1]) * UNITS_S[found[2] or "s"]


def block(arguments: argparse.Namespace) -> int:
    """Run the command."""
    blocks = list(_blocks(arguments))
    with _guard(arguments) as guard:
        return _tell(guard.add(blocks, confirmed=arguments.yes), arguments, "blocked")


def unblock(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with _guard(arguments) as guard:
        done = guard.remove(arguments.targets, "operator", arguments.why)
    return _tell(done, arguments, "unblocked")


def undo(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with _guard(arguments) as guard:
        return _tell(guard.undo(), arguments, "undone")


def show(arguments: argparse.Namespace) -> int:
    """Run the command."""
    with _guard(arguments) as guard:
        blocks = sorted(guard.blocks(), key=lambda one: one.since_s)
    for one in blocks:
        print(json.dumps(_plain(one), ensure_ascii=False) if arguments.json else _line(one))
    if not blocks and not arguments.json:
        print("nothing is blocked")
    return 0


def explain(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.respond.plain import plain

    with _guard(arguments) as guard:
        found = guard.explain(arguments.target)
    if arguments.json:
        told = {**plain(found), "blocks": [_plain(one) for one in found.blocks]}
        print(json.dumps(told, ensure_ascii=False))
        return 0
    print(f"{found.target} is {'blocked' if found.blocked else 'not blocked'}")
    for one in found.blocks:
        print(f"  {_line(one)}")
    for name in found.feeds:
        print(f"  on the list {name}")
    if found.never:
        print(f"  {found.never}")
    if found.pardoned_s:
        print(
            f"  unblocked by an operator: not blocked automatically for {_span(found.pardoned_s)}"
        )
    return 0


def load(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from fortress.respond.feeds import STANDS_S, FeedSource, fetch, read_list
    from fortress.respond.plain import plain

    name, source, why = arguments.name, arguments.source, ""
    if source.startswith(("http://", "https://")):
        fetched = fetch(FeedSource(name, source), arguments.folder)
        targets, why = fetched.targets, fetched.why
    else:
        targets = read_list(Path(source))
    with _guard(arguments) as guard:
        done = guard.load_feed(name, targets, arguments.seconds or STANDS_S)
    if arguments.json:
        print(json.dumps({**plain(done), "kept": why}, ensure_ascii=False))
    else:
        print(f"{done.name}: {done.entries:,} entries stand, {done.refused:,} were left out")
        for one in done.first_refusals:
            print(f"fortress: {one}", file=sys.stderr)
        if why:
            print(f"fortress: the last good list was kept: {why}", file=sys.stderr)
    return REFUSED if why else 0


def _add_shared(parser: argparse.ArgumentParser) -> None:
    add_json(parser, "print one JSON object for each line")
    add_guard_config(parser)


def _guard(arguments: argparse.Namespace) -> GuardClient:
    from fortress.respond.client import GuardClient
    from fortress.respond.guard_settings import load_settings

    return GuardClient(load_settings(arguments.guard_config).socket)


def _blocks(arguments: argparse.Namespace) -> Iterable[Block]:
    from fortress.respond.block import make_block
    from fortress.verdict import Action

    action = Action.LIMIT if arguments.limit else Action.BLOCK
    for text in _targets(arguments.targets):
        try:
            yield make_block(text, action, arguments.seconds, why=arguments.why, origin="operator")
        except ValueError as error:
            raise UsageError(str(error)) from None


def _targets(named: Sequence[str]) -> Iterable[str]:
    for text in named:
        if text != "-":
            yield text
            continue
        for line in sys.stdin:
            if word := line.partition("#")[0].strip():
                yield word


def _tell(outcomes: Sequence[Outcome], arguments: argparse.Namespace, done: str) -> int:
    from fortress.respond.plain import plain

    for one in outcomes:
        if arguments.json:
            print(json.dumps(plain(one), ensure_ascii=False))
        elif one.done:
            print(f"{one.target} {done}" + (f": {one.reason}" if one.reason else ""))
        else:
            reason = one.reason.removeprefix(f"{one.target} ").removeprefix(f"{one.target}: ")
            print(f"fortress: {one.target}: {reason}", file=sys.stderr)
    return 0 if all(one.done for one in outcomes) else REFUSED


def _plain(one: Standing) -> dict[str, object]:
    from fortress.respond.plain import plain

    return {**plain(one), "action": one.action.name}


def _line(one: Standing) -> str:
    left = "no end" if one.left_s is None else f"{_span(one.left_s)} left"
    hits = "" if one.hits is None else f"  {one.hits:,} packets"
    why = f"  {one.why}" if one.why else ""
    return f"{one.target:<39} {one.action.name:<10} {left:<14} {one.origin:<9}{hits}{why}"


def _span(seconds: float) -> str:
    for unit in ("w", "d", "h", "m"):
        if seconds >= 2 * UNITS_S[unit]:
            return f"{seconds / UNITS_S[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"
