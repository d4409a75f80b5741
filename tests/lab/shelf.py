"""The shelf: the table of shipped captures in samples/README.md, made from their labels files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.labels import SUFFIX, Label, read_labels

BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
_HEAD = """\
| capture | what | to be detected | packets | wire bytes | seconds | snaplen | file bytes |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |
"""


def table(folder: Path) -> str:
    """A row for each labels file of the folder, by name."""
    rows = [
        _row(*read_labels(path), (path.with_name(f"{path.name.removesuffix(SUFFIX)}.pcap.zst")))
        for path in sorted(folder.glob(f"*{SUFFIX}"))
    ]
    return _HEAD + "".join(rows)


def renew(folder: Path) -> None:
    """Put the present table between the marks of the folder's README.md, if it has one."""
    readme = folder / "README.md"
    if readme.exists():
        before, _, rest = readme.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        readme.write_text(f"{before}{BEGIN}\n{table(folder)}{END}{after}")


def _row(facts: dict[str, Any], labels: tuple[Label, ...], capture: Path) -> str:
    cells = (
        f"`{facts['scenario']}`",
        facts["sentence"],
        ", ".join(sorted({label.detector for label in labels})) or "nothing",
        f"{facts['packets']:,}",
        f"{facts['wire_bytes']:,}",
        f"{(facts['end'] - facts['start']) / 1e9:.0f}",
        "whole" if facts["snaplen"] >= 65_536 else str(facts["snaplen"]),
        f"{capture.stat().st_size:,}",
    )
    return f"| {' | '.join(cells)} |\n"
