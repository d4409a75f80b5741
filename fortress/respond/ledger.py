# SPDX-License-Identifier: Apache-2.0
"""The desired state: which blocks stand until when, kept in a file that survives a kill -9.

The file is JSON lines: a head, then what came and went. Lines are appended (before the kernel is
told), and now and then the whole is written beside and renamed. Within one boot ends are counted by
the boot clock, which nobody sets; after a reboot by the wall clock.
"""

from __future__ import annotations

import heapq
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fortress.errors import GuardError
from fortress.respond.block import Origin, Standing, Target, parse_target
from fortress.respond.plain import Misread, read
from fortress.verdict import Action

_SLACK_LINES = 4096  # lines beyond twice what stands before the file is written anew
_encode = json.JSONEncoder(ensure_ascii=False).encode
_PUT = '{"put": {"target": "'
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds since boot (suspend counts) and since 1970."""

    boot_s: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    wall_s: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Terms:
    """What blocks that were asked for together have in common: they end at `until_s` of the boot
    clock (None: never).
    """

    action: Action
    until_s: float | None
    since_s: float
    why: str
    origin: Origin
    signatures: tuple[int, ...] = ()

    def left_s(self, boot_s: float) -> float | None:
        """Seconds that remain, None without an end."""
        return None if self.until_s is None else max(0.0, self.until_s - boot_s)


@dataclass(frozen=True, slots=True)
class Held:
    """A block that stands."""

    target: Target
    terms: Terms

    @property
    def action(self) -> Action:
        """What is done to the target."""
        return self.terms.action

    @property
    def until_s(self) -> float | None:
        """When it ends, by the boot clock; None: never."""
        return self.terms.until_s

    @property
    def origin(self) -> Origin:
        """Who asked for it."""
        return self.terms.origin

    def left_s(self, boot_s: float) -> float | None:
        """Seconds that remain, None without an end."""
        return self.terms.left_s(boot_s)

    def standing(self, boot_s: float, hits: int | None = None) -> Standing:
        """The block as it is told."""
        target, terms = self.target, self.terms
        return Standing(
            target.text,
            target.kind,
            terms.action,
            terms.left_s(boot_s),
            terms.since_s,
            terms.why,
            terms.origin,
            terms.signatures,
            hits,
        )


@dataclass(frozen=True, slots=True)
class _Line:
    target: str
    action: Action
    until_boot_s: float | None
    until_wall_s: float | None
    since_s: float
    why: str
    origin: Origin
    signatures: tuple[int, ...] = ()


class Ledger:
    """What stands, by target text; the file follows every change."""

    def __init__(self, file: Path, clocks: Clocks | None = None) -> None:
        self._file, self._clocks = file, clocks or Clocks()
        self.held: dict[str, Held] = {}
        self.troubles: list[str] = []
        self.lost = False
        self._ends: list[tuple[float, str]] = []
        self._lines = 0
        self._fd = -1
        self._known_rest, self._known_terms = "", Terms(Action.PASS, 0.0, 0.0, "", "automatic")
        self._load()
        self._write_anew()

    def put(self, blocks: Iterable[Held]) -> None:
        """These stand from now on."""
        known = list(blocks)
        for block in known:
            text, until_s = block.target.text, block.terms.until_s
            self.held[text] = block
            if until_s is not None:
                heapq.heappush(self._ends, (until_s, text))
        self._append(_lines(known, self._shift_s()))

    def drop(self, targets: Iterable[str]) -> None:
        """These stand no more."""
        gone = [text for text in targets if self.held.pop(text, None) is not None]
        self._append([_dropped(text) for text in gone])

    def expired(self) -> list[Held]:
        """Takes out what has come to its end, and returns it."""
        now_s, gone = self._clocks.boot_s(), []
        while self._ends and self._ends[0][0] <= now_s:
            until_s, text = heapq.heappop(self._ends)
            block = self.held.get(text)
            if block is not None and block.until_s == until_s:
                gone.append(self.held.pop(text))
        self._append([_dropped(block.target.text) for block in gone])
        return gone

    def next_end_s(self) -> float | None:
        """Boot time at which something may end, None while nothing will."""
        return self._ends[0][0] if self._ends else None

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _shift_s(self) -> float:
        return self._clocks.wall_s() - self._clocks.boot_s()

    def _append(self, lines: list[str]) -> None:
        if not lines:
            return
        self._lines += len(lines)
        if self._fd < 0 or self._lines > 2 * len(self.held) + _SLACK_LINES:
            self._write_anew()
            return
        try:
            _write_all(self._fd, ("\n".join(lines) + "\n").encode())
        except OSError as error:  # the kernel's state matters more than the file: go on, and say so
            self.close()  # a line may be torn: the next change writes the file anew
            self._trouble(f"{self._file}: {error.strerror}; what changes now is lost by a restart")

    def _write_anew(self) -> None:
        beside = self._file.with_suffix(".new")
        head = json.dumps({"fortress_guard": 1, "boot": boot_id()})
        try:
            self.close()
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            self._fd = fd
            lines = _lines(self.held.values(), self._shift_s())
            _write_all(fd, "".join(f"{line}\n" for line in (head, *lines)).encode())
            os.fsync(fd)
            beside.rename(self._file)
            self._lines = len(self.held)
            self._ends = [(b.until_s, t) for t, b in self.held.items() if b.until_s is not None]
            heapq.heapify(self._ends)
        except OSError as error:
            self.close()
            with suppress(OSError):
                beside.unlink()
            self._trouble(f"{self._file}: {error.strerror}; what changes now is lost by a restart")

    def _trouble(self, text: str) -> None:
        if text not in self.troubles:
            self.troubles.append(text)

    def _load(self) -> None:
        try:
            text = self._file.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            self.lost = True
            return
        except OSError as error:
            raise GuardError(f"{self._file}: {error.strerror}", "the guard must own it") from error
        head, _, rest = text.partition("\n")
        try:
            boot = str(_parsed(head)["boot"])
        except (KeyError, Misread):
            aside = self._file.with_suffix(".damaged")
            self._file.rename(aside)
            self.lost = True
            self._trouble(f"{self._file} was damaged: set aside as {aside.name}")
            return
        is_same_boot = boot == boot_id()
        damaged = sum(not self._replay(line, is_same_boot) for line in rest.splitlines())
        if damaged:
            self._trouble(f"{self._file}: {damaged} damaged lines were left out")

    def _replay(self, line: str, is_same_boot: bool) -> bool:
        """Takes in a line of the file; False when it is damaged."""
        try:
            text, terms = self._read_line(line, is_same_boot)
            if terms is None:
                self.held.pop(text, None)
                return True
            target = parse_target(text)
        except (KeyError, ValueError):
            return False
        if terms.until_s is not None and terms.until_s <= self._clocks.boot_s():
            self.held.pop(target.text, None)
        else:
            self.held[target.text] = Held(target, terms)
        return True

    def _read_line(self, line: str, is_same_boot: bool) -> tuple[str, Terms | None]:
        """The target of a line, and its terms if it is put; KeyError or ValueError.

        What follows the target is read once for blocks that were asked for together.
        """
        text, _, rest = line.removeprefix(_PUT).partition('", ')
        if rest and rest == self._known_rest and line.startswith(_PUT):
            return text, self._known_terms
        record = _parsed(line)
        if "drop" in record:
            return str(record["drop"]), None
        written = read(_Line, record["put"])
        until_s = written.until_boot_s
        if until_s is not None and not is_same_boot:
            shift_s = self._shift_s()
            until_s = (written.until_wall_s or 0.0) - shift_s
        told = (written.since_s, written.why, written.origin, written.signatures)
        self._known_rest, self._known_terms = rest, Terms(written.action, until_s, *told)
        return written.target, self._known_terms


def _lines(blocks: Iterable[Held], shift_s: float) -> list[str]:
    """The line of each block; a target's text needs no quoting."""
    lines = []
    last: Terms | None = None
    rest = ""
    for block in blocks:
        if block.terms is not last:
            last, rest = block.terms, _rest(block.terms, shift_s)
        lines.append(f'{_PUT}{block.target.text}", {rest}')
    return lines


def _dropped(text: str) -> str:
    return f'{{"drop": "{text}"}}'


def _rest(terms: Terms, shift_s: float) -> str:
    fields = {
        "action": int(terms.action),
        "until_boot_s": terms.until_s,
        "until_wall_s": None if terms.until_s is None else terms.until_s + shift_s,
        "since_s": terms.since_s,
        "why": terms.why,
        "origin": terms.origin,
        "signatures": terms.signatures,
    }
    return _encode(fields)[1:] + "}"


def _parsed(line: str) -> Mapping[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise Misread("a line is no JSON") from None
    if not isinstance(record, dict):
        raise Misread("a line is no object")
    return record


def boot_id() -> str:
    """What the kernel calls this boot."""
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def entries_of(
    blocks: Iterable[Held], boot_s: float
) -> Iterator[tuple[Target, Action, float | None]]:
    """Target, action and seconds left of each block that has not come to its end."""
    for block in blocks:
        left_s = block.left_s(boot_s)
        if left_s is None or left_s > 0:
            yield block.target, block.action, left_s
