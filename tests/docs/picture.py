"""Draws docs/images/run.svg: what `./dev run` prints on a terminal, run now and drawn as it is."""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.need import ROOT

PICTURE = ROOT / "docs" / "images" / "run.svg"
COLUMNS = 104


def main() -> int:
    """Replay the shipped capture and write the picture of its summary."""
    capture = next((ROOT / "samples").glob("attack_day.pcap*"))
    fortress = Path(sys.executable).parent / "fortress"
    with tempfile.TemporaryDirectory() as state:
        colours = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
        done = subprocess.run(
            [fortress, "up", "--replay", capture.relative_to(ROOT), "--once"],
            cwd=ROOT,
            env={**os.environ, **colours, "FORTRESS_STATE_DIR": state},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        shown = done.stdout.replace(state, "/var/lib/fortress")
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown), soft_wrap=True)
    drawing = console.export_svg(title="./dev run")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(re.sub(r"\s*@font-face \{.*?\}\n", "\n", drawing, flags=re.DOTALL))
    return 0


if __name__ == "__main__":
    sys.exit(main())
