# SPDX-License-Identifier: Apache-2.0
"""Writes the C of the extension `fortress_core._native` from include/fx/abi.h for CMake."""

import sys
from pathlib import Path

from cffi import FFI

ABI = Path(__file__).parent / "include" / "fx" / "abi.h"


def declarations(text: str) -> str:
    """The plain declarations of abi.h: what is left without the preprocessor's lines."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def main(out: str) -> None:
    """Write the extension's C source to `out`."""
    ffi = FFI()
    ffi.cdef(declarations(ABI.read_text(encoding="utf-8")))
    ffi.set_source("fortress_core._native", '#include "fx/abi.h"\n')
    ffi.emit_c_code(out)


if __name__ == "__main__":
    main(sys.argv[1])
