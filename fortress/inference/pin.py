# SPDX-License-Identifier: Apache-2.0
"""Writes the pins of the models that ship anew: `python -m fortress.inference.pin [MODELS]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fortress.inference import shipped


def pinned_source(models: Path, source: str) -> str:
    """The text of shipped.py with the pins of the models in a folder. Raises ModelRejected."""
    found = sorted(path.parent for path in models.glob("*/model.toml"))
    rows = "".join(f'    "{folder.name}": "{shipped.digest(folder)}",\n' for folder in found)
    return re.sub(r"(?ms)^PINS = \{\n.*?^\}", f"PINS = {{\n{rows}}}", source, count=1)


if __name__ == "__main__":
    table = Path(shipped.__file__).resolve()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else table.parents[2] / "models"
    table.write_text(pinned_source(folder, table.read_text(encoding="utf-8")), encoding="utf-8")
