# SPDX-License-Identifier: Apache-2.0
"""Writes the C of an extension (`_native`, `_bpf`) from its header in include/fx for CMake."""

import sys
from pathlib import Path

from cffi import FFI

HEADERS = {"_native": "abi.h", "_bpf": "bpf_abi.h"}


def declarations(text: str) -> str:
    """The plain declarations of a header: what is left without the preprocessor's lines."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def main(module: str, out: str) -> None:
    """Write the C source of the extension `module` to `out`."""
    header = HEADERS[module]
    path = Path(__file__).parent / "include" / "fx" / header
    ffi = FFI()
    ffi.cdef(declarations(path.read_text(encoding="utf-8")))
    ffi.set_source(f"fortress_core.{module}", f'#include "fx/{header}"\n')
    ffi.emit_c_code(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
