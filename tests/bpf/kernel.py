"""bpf(2) by hand, for tests: programs are run on frames, maps are read and written."""

import ctypes
import os
import platform
import struct

_CALL = {"x86_64": 321, "aarch64": 280}
_LOOKUP, _UPDATE, _DELETE, _NEXT, _RUN = 1, 2, 3, 4, 10
_LINK_BYTES = 14
_GSO_SIZE_AT, _CONTEXT_BYTES = 176, 192  # struct __sk_buff
_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> None:
    """Call bpf(2); OSError says why not."""
    number = _CALL[platform.machine()]
    if _libc.syscall(number, command, attributes, len(attributes)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run_filter(
    program_fd: int, frame: bytes, *, segment_bytes: int = 0, repeat: int = 1
) -> tuple[int, int]:
    """How many octets a socket filter keeps of the frame, and ns a run.

    The kernel takes a link header off before it runs a filter: it gets one to take.
    """
    octets = ctypes.create_string_buffer(b"\0" * _LINK_BYTES + frame, _LINK_BYTES + len(frame))
    context = ctypes.create_string_buffer(_CONTEXT_BYTES)
    struct.pack_into("<I", context, _GSO_SIZE_AT, segment_bytes)
    attributes = ctypes.create_string_buffer(
        struct.pack("<IIIIQQIIIIQQIII4x", program_fd, 0, len(octets), 0, ctypes.addressof(octets),
                    0, repeat, 0, len(context), 0, ctypes.addressof(context), 0, 0, 0, 0),
        80,
    )  # fmt: skip
    bpf(_RUN, attributes)
    kept, duration = struct.unpack_from("<I28xI", attributes, 4)
    return kept, duration


def put(map_fd: int, key: bytes, value: bytes) -> None:
    """Write an entry of a map."""
    _entry(_UPDATE, map_fd, key, ctypes.create_string_buffer(value, len(value)))


def look(map_fd: int, key: bytes, value_bytes: int) -> bytes:
    """Read an entry of a map; OSError where there is none."""
    value = ctypes.create_string_buffer(value_bytes)
    _entry(_LOOKUP, map_fd, key, value)
    return value.raw


def drop(map_fd: int, key: bytes) -> None:
    """Delete an entry of a map."""
    _entry(_DELETE, map_fd, key, None)


def keys(map_fd: int, key_bytes: int) -> list[bytes]:
    """All keys of a map that nobody changes meanwhile."""
    found: list[bytes] = []
    at = ctypes.create_string_buffer(key_bytes)
    while True:
        here = ctypes.create_string_buffer(found[-1], key_bytes) if found else None
        attributes = struct.pack("<I4xQQQ", map_fd, ctypes.addressof(here) if here else 0,
                                 ctypes.addressof(at), 0)  # fmt: skip
        try:
            bpf(_NEXT, ctypes.create_string_buffer(attributes, 32))
        except FileNotFoundError:
            return found
        found.append(at.raw)


def _entry(
    command: int, map_fd: int, key: bytes, value: ctypes.Array[ctypes.c_char] | None
) -> None:
    octets = ctypes.create_string_buffer(key, len(key))
    attributes = struct.pack(
        "<I4xQQQ", map_fd, ctypes.addressof(octets), ctypes.addressof(value) if value else 0, 0
    )
    bpf(command, ctypes.create_string_buffer(attributes, 32))
