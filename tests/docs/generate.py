"""Writes the pages of the documentation that are made from the program itself.

`python -m tests.docs.generate` writes them; the test beside this file fails when one is stale.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

from tests.need import ROOT

DOCS = ROOT / "docs"
NOTE = "<!-- Made by ./dev docs; do not edit. -->\n\n"


def commands_page() -> str:
    """Return the help of every command, as the program prints it."""
    from fortress.cli import build_parser

    lines = ["# Commands", "", "`fortress COMMAND --help` prints the same.", ""]
    for name, parser in _parsers("fortress", build_parser()):
        lines += [f"{'#' * min(name.count(' ') + 1, 3)}# {name}", "", "```text"]
        lines += [parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def columns_page() -> str:
    """Return the data dictionary: every column of packets, flows and intervals."""
    from fortress_core import FLOWS, FULL_PACKETS, INTERVALS, PACKETS, columns

    lines = ["# Columns", ""]
    lines += [
        (
            "Each table is one `.def` file under `core_ext/include/fx/`; all else comes from it."
            " `fortress flows` and the archive write `conn_state` and `end_reason` as the names"
            " given here (dictionary-encoded text in Parquet)."
        ),
        "",
        (
            f"A flow column tells of the first {FULL_PACKETS} packets of each direction, in replay"
            " as well as live, where the kernel only counts what follows. Of all packets are the"
            " columns that say *in total*, `duration_ns`, the ratios, `conn_state`, `history` and"
            " `end_reason`, the latter three by SYN, FIN and RST."
        ),
        "",
    ]
    for title, table in (("Flows", FLOWS), ("Intervals", INTERVALS), ("Packets", PACKETS)):
        rows = columns(table)
        lines += [f"## {title}", "", f"{len(rows)} columns.", ""]
        lines += ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        for row in rows:
            meaning = row.meaning.replace("|", "\\|")
            lines.append(f"| `{row.name}` | {row.type} | {row.unit} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


CONFIGURATION = """\
# Configuration

One file, `fortress.toml`, and `conf.d/*.toml` beside it; then the environment, then the command
line: later ones win, key by key. An unknown key or `FORTRESS_` variable is an error that names it
and the nearest one. A variable's text becomes what its key wants; lists and tables are written in
JSON. `fortress config show` prints each value, those of every detector too, and where it came from,
as a file that says the same again (but for a password in `store.url`, which is covered); `fortress
config check` only checks, `fortress config schema` prints the JSON Schema.
"""


def configuration_page() -> str:
    """Return every setting of fortress.toml with its default, from the settings' own schema."""
    from fortress.config import schema

    whole = schema()
    lines = [CONFIGURATION, "## Top level", "", *_settings("", whole), ""]
    for name, member in whole["properties"].items():
        if "$ref" in member:
            section = whole["$defs"][member["$ref"].rpartition("/")[2]]
            lines += [f"## [{name}]", "", section["description"], ""]
            lines += [*_settings(f"{name}.", section), ""]
    return "\n".join(lines)


DETECTORS = """\
# Detectors

A detector is one file in `fortress/qsecbit/detectors/`: a pure function from the columns of one
table to a confidence for each row. Severity times confidence is a finding's risk; from 0.4 it is an
alert. The settings of a detector are keys of its section in `fortress.toml`; `enabled = false`
switches it off.
"""


def detectors_page() -> str:
    """Return the catalogue of detectors: what each reads, says and can be told."""
    from fortress.qsecbit.catalogue import catalogue

    lines = [DETECTORS]
    for name, detector in catalogue().items():
        source = sys.modules[detector.judge.__module__]
        lines += [f"## {name}", "", (source.__doc__ or "").strip(), ""]
        lines += [inspect.getdoc(detector.judge) or "", ""]
        signatures = dict.fromkeys(f"{one.id} {one.text}" for one in detector.signatures.values())
        facts = {
            "signatures": ", ".join(signatures),
            "layer, technique": f"{detector.layer.value}, {detector.technique}",
            "category": detector.category,
            "severity": f"{detector.severity:g}",
            "reason": f"`{detector.reason}`",
            "reads": f"table `{detector.table}`: {', '.join(f'`{c}`' for c in detector.columns)}",
        }
        lines += ["| | |", "| --- | --- |", *(f"| {key} | {facts[key]} |" for key in facts), ""]
        settings = (f"{key} = {json.dumps(value)}" for key, value in detector.settings.items())
        lines += ["```toml", f"[detectors.{name}]", *settings, "```", ""]
    return "\n".join(lines)


def metrics_page() -> str:
    """Return every Prometheus metric with its labels and meaning."""
    from fortress import metrics

    lines = ["# Metrics", "", "What `/metrics` serves while the agent runs.", ""]
    lines += ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    declared = (one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase))
    for metric in declared:
        total = "_total" if metric._type == "counter" else ""
        labels = ", ".join(metric._labelnames)
        lines.append(
            f"| `{metric._name}{total}` | {metric._type} | {labels} | {metric._documentation} |"
        )
    return "\n".join([*lines, ""])


PAGES: dict[str, Callable[[], str]] = {
    "columns.md": columns_page,
    "commands.md": commands_page,
    "configuration.md": configuration_page,
    "detectors.md": detectors_page,
    "metrics.md": metrics_page,
}


def page(name: str) -> str:
    """Return the whole text of a generated page."""
    return NOTE + PAGES[name]()


def main() -> int:
    """Write every generated page that has changed, and say which."""
    for name in PAGES:
        path, text = DOCS / name, page(name)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(path.relative_to(ROOT))
    return 0


def _settings(prefix: str, section: dict[str, Any]) -> Iterator[str]:
    yield "| key | default | meaning | environment |"
    yield "| --- | --- | --- | --- |"
    for name, member in section["properties"].items():
        if "$ref" not in member:
            key = f"{prefix}{name}"
            default = f"`{json.dumps(member['default'])}`" if "default" in member else ""
            variable = "FORTRESS_" + key.upper().replace(".", "__")
            yield f"| `{key}` | {default} | {member['description']} | `{variable}` |"


def _parsers(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, inner in action.choices.items():
                yield from _parsers(f"{name} {verb}", inner)


if __name__ == "__main__":
    sys.exit(main())
