# SPDX-License-Identifier: Apache-2.0
"""The one door to Fortress's data plane, which is written in C.

Modules are imported when a name of theirs is asked for: a process that only blocks loads no numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fortress_core.af_xdp import XdpPort as XdpPort
    from fortress_core.af_xdp import open_xdp as open_xdp
    from fortress_core.af_xdp import open_xdp_port as open_xdp_port
    from fortress_core.af_xdp import put_together as put_together
    from fortress_core.af_xdp import xdp_refusal as xdp_refusal
    from fortress_core.bpf_object import BpfError as BpfError
    from fortress_core.bpf_object import BpfObject as BpfObject
    from fortress_core.bpf_object import bpf_available as bpf_available
    from fortress_core.capture import CaptureError as CaptureError
    from fortress_core.capture import Damage as Damage
    from fortress_core.capture import ShuntStats as ShuntStats
    from fortress_core.capture import Stream as Stream
    from fortress_core.capture import StreamOptions as StreamOptions
    from fortress_core.capture import StreamStats as StreamStats
    from fortress_core.capture import open_capture as open_capture
    from fortress_core.capture import open_synth as open_synth
    from fortress_core.conntrack import Conntrack as Conntrack
    from fortress_core.conntrack import ConntrackError as ConntrackError
    from fortress_core.conntrack import NatState as NatState
    from fortress_core.conntrack import open_conntrack as open_conntrack
    from fortress_core.flows import CONN_STATES as CONN_STATES
    from fortress_core.flows import END_REASONS as END_REASONS
    from fortress_core.flows import Batch as Batch
    from fortress_core.flows import Rows as Rows
    from fortress_core.flows import addr_words as addr_words
    from fortress_core.flows import format_addr as format_addr
    from fortress_core.flows import format_mac as format_mac
    from fortress_core.gate import Gate as Gate
    from fortress_core.gate import GateEntry as GateEntry
    from fortress_core.gate import GateKey as GateKey
    from fortress_core.gate import Rates as Rates
    from fortress_core.live import Port as Port
    from fortress_core.live import PortError as PortError
    from fortress_core.live import PortState as PortState
    from fortress_core.live import open_live as open_live
    from fortress_core.live import open_port as open_port
    from fortress_core.live import ring_share as ring_share
    from fortress_core.schema import FLOWS as FLOWS
    from fortress_core.schema import FULL_PACKETS as FULL_PACKETS
    from fortress_core.schema import INTERVALS as INTERVALS
    from fortress_core.schema import PACKETS as PACKETS
    from fortress_core.schema import Column as Column
    from fortress_core.schema import columns as columns
    from fortress_core.sides import Forged as Forged
    from fortress_core.tap import Tap as Tap
    from fortress_core.tap import TapSwitch as TapSwitch
    from fortress_core.tap import attach_tap as attach_tap
    from fortress_core.tap import detach_tap as detach_tap

# Which module has a name. The block above tells the type checker the same (a test compares them).
_HOMES: Final = {
    "af_xdp": ("XdpPort", "open_xdp", "open_xdp_port", "put_together", "xdp_refusal"),
    "bpf_object": ("BpfError", "BpfObject", "bpf_available"),
    "capture": (
        *("CaptureError", "Damage", "ShuntStats", "Stream", "StreamOptions", "StreamStats"),
        *("open_capture", "open_synth"),
    ),
    "conntrack": ("Conntrack", "ConntrackError", "NatState", "open_conntrack"),
    "flows": (
        *("CONN_STATES", "END_REASONS", "Batch", "Rows"),
        *("addr_words", "format_addr", "format_mac"),
    ),
    "live": ("Port", "PortError", "PortState", "open_live", "open_port", "ring_share"),
    "gate": ("Gate", "GateEntry", "GateKey", "Rates"),
    "schema": ("FLOWS", "FULL_PACKETS", "INTERVALS", "PACKETS", "Column", "columns"),
    "sides": ("Forged",),
    "tap": ("Tap", "TapSwitch", "attach_tap", "detach_tap"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
