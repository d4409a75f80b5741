"""Draws the summary of a capture as a picture: `python -m tests.docs.picture CAPTURE OUT.svg`."""

import io
import re
import sys
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from fortress.cli.summary import summary
from fortress.config import load
from fortress.services import agent
from fortress.sinks import Outputs

WIDTH = 96
# fmt: off
NORMAL = [
    (40, 44, 52), (240, 82, 79), (80, 200, 120), (240, 180, 41),
    (90, 160, 240), (190, 130, 240), (70, 190, 200), (214, 219, 226),
]
BRIGHT = [
    (100, 108, 118), (255, 110, 105), (110, 225, 145), (255, 205, 80),
    (125, 185, 255), (210, 160, 255), (110, 215, 225), (255, 255, 255),
]
# fmt: on
THEME = TerminalTheme((17, 20, 24), (214, 219, 226), NORMAL, BRIGHT)


def draw(capture: Path, out: Path) -> None:
    """Replay the capture and write the picture of its summary."""
    settings = load(environ={}).settings
    outputs = Outputs([], "monitor", lambda error: None)
    report = agent.run(agent.Replay((str(capture),)), settings, outputs, Event())
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(summary(report, capture.name, {}, WIDTH))
    title = f"fortress up --replay {capture.name} --once"
    drawing = console.export_svg(title=title, theme=THEME, unique_id="fortress")
    out.write_text(re.sub(r"\s*@font-face {.*?}\n", "\n", drawing, flags=re.DOTALL))  # no web fonts


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
