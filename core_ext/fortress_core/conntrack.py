# SPDX-License-Identifier: Apache-2.0
"""Connections that the kernel translates (NAT), as ctnetlink tells them.

Opening the socket and asking for the whole table need CAP_NET_ADMIN, reading needs nothing: who
may open it hands the descriptor to who may not, and asks in its place about once a minute.
"""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from fortress_core._native import ffi, lib
from fortress_core.closing import Closing
from fortress_core.refusal import Refusal

_REMEDIES: Final = {
    errno.EPERM: "let `fortress guard` open it, or run with the capability CAP_NET_ADMIN",
    errno.EPROTONOSUPPORT: "needs a kernel with CONFIG_NF_CT_NETLINK",
    errno.ENOENT: "load the kernel's module nf_conntrack_netlink",
    errno.EINVAL: "hand over the descriptor that open_conntrack() gave",
    errno.ENOMEM: "give the process more memory",
}


class ConntrackError(Refusal):
    """Translated connections cannot be read: what is wrong, and what to do about it."""


@dataclass(slots=True)
class Conntrack(Closing):
    """A socket that the kernel tells of connections; a stream that reads it has its own copy."""

    fd: int

    def ask(self) -> None:
        """Have the whole table sent to whoever reads the socket; needs CAP_NET_ADMIN.

        The kernel tells a refusal to the reader. Raises ConntrackError when it cannot be asked.
        """
        check(lib.fx_conntrack_ask(self.fd))

    def close(self) -> None:
        """Give the socket back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(frozen=True, slots=True)
class NatState:
    """What a stream knows of translation; the fields of fx_nat_stats in include/fx/abi.h.

    While it is not `complete`, `reason` says why, and connections may be in two flows: one with the
    inner address and one with the gateway's.
    """

    seen_twice: int
    translated: int
    mappings: int
    added: int
    ended: int
    refused: int
    overruns: int
    readings: int
    malformed: int
    complete: bool
    reason: str


def open_conntrack() -> Conntrack:
    """A socket for the connections of this network namespace, the whole table asked for.

    Needs CAP_NET_ADMIN; ConntrackError says so, or what else is missing.
    """
    made = Conntrack(check(lib.fx_conntrack_open()))
    try:
        made.ask()
    except ConntrackError:
        made.close()
        raise
    return made


def port_bits(numbers: Iterable[int]) -> int:
    """A bit for each number of a port; ValueError for what is no number of one."""
    bits = 0
    for number in numbers:
        if not 0 <= number < 64:
            raise ValueError(f"outside: there is no port {number}")
        bits |= 1 << number
    return bits


def nat_state(stream: Any) -> NatState:
    """What the native stream knows of translation."""
    out = ffi.new("fx_nat_stats *")
    lib.fx_stream_nat_read(stream, out)
    return NatState(
        out.seen_twice,
        out.translated,
        out.mappings,
        out.added,
        out.ended,
        out.refused,
        out.overruns,
        out.readings,
        out.malformed,
        bool(out.is_complete),
        os.fsdecode(ffi.string(out.reason)),
    )


def check(code: int) -> int:
    """`code` if it is not negative; else ConntrackError with the library's words."""
    if code >= 0:
        return code
    what = os.fsdecode(ffi.string(lib.fx_last_error()))
    raise ConntrackError(what, _REMEDIES.get(-code, "see the kernel's log (`dmesg`)"))
