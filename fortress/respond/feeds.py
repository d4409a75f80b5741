# SPDX-License-Identifier: Apache-2.0
"""IP block lists from the Internet: fetched when they have changed, believed when plausible.

A list is lines of addresses and prefixes; `#` and `;` begin comments (the plain, netset and DROP
formats). The last good one is kept in a folder; a list that is empty, no list at all or has shrunk
by more than SHRINKS is refused, and the last good one stands.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Literal

from fortress.errors import InputError
from fortress.respond.block import parse_target

MOST_BYTES = 32 << 20
MOST_SECONDS = 60.0
WAIT_S = 20.0
SHRINKS = 0.30
STANDS_S = 3 * 86_400.0  # how long a list is to stand unless it is loaded again
UNREADABLE = 0.05  # of the lines; more is no list but, say, an error page
_CHUNK = 1 << 16
_AGENT = "fortress (IP block lists)"


@dataclass(frozen=True, slots=True)
class FeedSource:
    """A list by its name (as in guard.toml), where it is, and the most it may hold and take."""

    name: str
    url: str
    most_bytes: int = MOST_BYTES
    most_seconds: float = MOST_SECONDS


@dataclass(frozen=True, slots=True)
class Fetched:
    """A list as it is to stand; of state "kept" it is the last good one, and `why` says why."""

    name: str
    state: Literal["new", "unchanged", "kept"]
    targets: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    url: str
    etag: str
    last_modified: str
    fetched_s: float
    entries: int


Opener = Callable[[urllib.request.Request, float], IO[bytes]]


def fetch(source: FeedSource, folder: Path, opener: Opener | None = None) -> Fetched:
    """The list as it is to stand; InputError when there is none, not even a last good one."""
    known = _known(source, folder)
    last = _last_good(source, folder) if known else ()
    request = urllib.request.Request(source.url, headers={"User-Agent": _AGENT})
    if known and last:
        if known.etag:
            request.add_header("If-None-Match", known.etag)
        if known.last_modified:
            request.add_header("If-Modified-Since", known.last_modified)
    try:
        text, etag, modified = _get(request, source, opener or _open)
        targets = checked(text, len(last))
    except _NotModified:
        if known:
            _note(source, folder, replace(known, fetched_s=time.time()))
        return Fetched(source.name, "unchanged", last)
    except (InputError, OSError, http.client.HTTPException) as error:
        why = f"{source.url}: {error}"
        if not last:
            raise InputError(f"list {source.name}: {why}; there is no last good one") from error
        return Fetched(source.name, "kept", last, why)
    _keep(source, folder, targets, _Known(source.url, etag, modified, time.time(), len(targets)))
    return Fetched(source.name, "new", targets)


def fetched_s(source: FeedSource, folder: Path) -> float | None:
    """When a list was last there or unchanged, in seconds of 1970; None where none is kept."""
    known = _known(source, folder)
    return known.fetched_s if known and _last_good(source, folder) else None


def read_list(path: Path) -> tuple[str, ...]:
    """The targets of a list in a file; InputError says what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES >> 20} MiB")
    try:
        return checked(data.decode("utf-8", errors="replace"), 0)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def checked(text: str, last: int) -> tuple[str, ...]:
    """The targets of a list, each once; InputError when it is implausible beside the last one's
    number of entries.
    """
    targets, unreadable = parse_list(text)
    number = len(targets) + unreadable
    if unreadable > UNREADABLE * number:
        raise InputError(f"{unreadable} of {number} lines hold no address: it is no block list")
    if not targets:
        raise InputError("it is empty")
    if len(targets) < (1 - SHRINKS) * last:
        raise InputError(
            f"it has shrunk from {last} to {len(targets)} entries, more than {SHRINKS:.0%}"
        )
    return targets


def parse_list(text: str) -> tuple[tuple[str, ...], int]:
    """Targets of a list in their one form, each once, and how many lines could not be read."""
    found: dict[str, None] = {}
    unreadable = 0
    for line in text.splitlines():
        word = line.partition("#")[0].partition(";")[0].strip()
        if not word:
            continue
        try:
            target = parse_target(word.split()[0])
        except ValueError:
            unreadable += 1
            continue
        if target.kind == "mac":
            unreadable += 1
        else:
            found[target.text] = None
    return tuple(found), unreadable


class _NotModified(Exception):
    pass


class _SameOrSafer(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never from https to anything else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://") and not (
            req.type == "http" and newurl.startswith("http://")
        ):
            raise InputError(f"it leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(request: urllib.request.Request, wait_s: float) -> IO[bytes]:
    opener = urllib.request.build_opener(_SameOrSafer())
    answer: IO[bytes] = opener.open(request, timeout=wait_s)
    return answer


def _get(
    request: urllib.request.Request, source: FeedSource, opener: Opener
) -> tuple[str, str, str]:
    """Text, ETag and Last-Modified of an answer; _NotModified when there is nothing new."""
    if request.type not in ("http", "https"):
        raise InputError("a list has an http or https address")
    end_s = time.monotonic() + source.most_seconds
    try:
        with opener(request, min(WAIT_S, source.most_seconds)) as answer:
            data = bytearray()
            while chunk := answer.read(_CHUNK):
                data += chunk
                if len(data) > source.most_bytes:
                    raise InputError(f"larger than {source.most_bytes} bytes")
                if time.monotonic() > end_s:
                    raise InputError(f"not there within {source.most_seconds:g} s")
            headers = getattr(answer, "headers", {})
            etag, modified = headers.get("ETag", ""), headers.get("Last-Modified", "")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 304:
            raise _NotModified from None
        raise InputError(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise InputError(f"{error.reason}") from error
    return data.decode("utf-8", errors="replace"), etag or "", modified or ""


def _keep(source: FeedSource, folder: Path, targets: tuple[str, ...], known: _Known) -> None:
    """Write the list, then what is known of it; a disk that is full keeps the ones before."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / f"{source.name}.list", "\n".join((*targets, "")))
        _note(source, folder, known)


def _note(source: FeedSource, folder: Path, known: _Known) -> None:
    with suppress(OSError):
        _replace(folder / f"{source.name}.json", json.dumps(asdict(known)))


def _replace(path: Path, text: str) -> None:
    beside = path.with_suffix(path.suffix + ".new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.rename(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _known(source: FeedSource, folder: Path) -> _Known | None:
    try:
        values = json.loads((folder / f"{source.name}.json").read_text(encoding="utf-8"))
        known = _Known(**values)
    except (OSError, ValueError, TypeError):
        return None
    return known if known.url == source.url else None


def _last_good(source: FeedSource, folder: Path) -> tuple[str, ...]:
    try:
        return parse_list((folder / f"{source.name}.list").read_text(encoding="utf-8"))[0]
    except (OSError, UnicodeDecodeError):
        return ()
