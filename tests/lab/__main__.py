"""The lab's command line: list, record and judge labelled captures of real tools."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.lab.judge import JudgeError, Judgement, judge, read_events, replay
from tests.lab.labels import LabelsError, labels_path, read_labels
from tests.lab.record import record
from tests.lab.sandbox import SandboxError
from tests.lab.scenario import Scenario, catalogue, training_catalogue
from tests.lab.shelf import renew

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
TRAINING = ROOT / ".cache" / "lab"  # captures for training only
_OK, _BAD, _USAGE, _INTERRUPTED = 0, 1, 2, 130


class _UsageError(Exception):
    """A name or file on the command line that does not exist."""


def main(arguments: list[str]) -> int:
    """Exit status: 0 done and good, 1 failed or judged bad, 2 usage, 3 capture only partly read."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.task(options)
    except _UsageError as error:
        print(f"lab: {error}", file=sys.stderr)
        return _USAGE
    except (SandboxError, LabelsError, JudgeError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return _BAD
    except KeyboardInterrupt:
        print("lab: interrupted; nothing is left behind", file=sys.stderr)
        return _INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev lab",
        description="Labelled captures of real attack and everyday tools, made in private network"
        " namespaces, and what Fortress says about them.",
        epilog="Exit status: 0 good; 1 failed, or judged bad; 2 usage; 3 capture only partly read.",
    )
    tasks = parser.add_subparsers(title="commands", required=True, metavar="list|record|judge")
    task = tasks.add_parser("list", help="what can be recorded, and which detector ought to see it")
    task.set_defaults(task=_list)
    task = tasks.add_parser("record", help="record scenarios; needs root and their tools")
    task.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="scenarios, as list names them; `training`: all that training wants and has not yet",
    )
    task.add_argument(
        "--out", type=Path, help="folder to write to (default: samples, for training .cache/lab)"
    )
    task.set_defaults(task=_record)
    task = tasks.add_parser("judge", help="replay captures and compare alerts with their labels")
    task.add_argument(
        "names", nargs="*", metavar="NAME", help="samples or capture files (default: all samples)"
    )
    task.add_argument(
        "--fortress", default=_fortress(), help="the command to replay with (default: %(default)s)"
    )
    task.add_argument(
        "--events", type=Path, help="judge these recorded events instead of replaying the capture"
    )
    task.set_defaults(task=_judge)
    for task in tasks.choices.values():
        task.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _fortress() -> str:
    inside = ROOT / ".venv" / "bin" / "fortress"
    return str(inside) if inside.exists() else "fortress"


def _list(options: argparse.Namespace) -> int:
    for scenario in (*catalogue().values(), *training_catalogue().values()):
        if options.json:
            print(json.dumps(_summary(scenario)))
        else:
            kinds = sorted({truth.kind for truth in scenario.truths} - {""})
            training = f"for training: {', '.join(kinds)}" if kinds else ""
            seen = ", ".join(filter(None, scenario.detectors)) or training or "benign: nothing"
            print(f"{scenario.name:20} {seen}\n    {scenario.sentence}")
    return _OK


def _summary(scenario: Scenario) -> dict[str, object]:
    return {
        "name": scenario.name,
        "sentence": scenario.sentence,
        "detectors": scenario.detectors,
        "techniques": scenario.techniques,
        "actors": scenario.actors,
        "max_seconds": scenario.max_seconds,
        "max_packets": scenario.max_packets,
    }


def _record(options: argparse.Namespace) -> int:
    shipped, training = catalogue(), training_catalogue()
    known = shipped | training
    names = list(options.names)
    if names == ["training"]:
        folder = options.out or TRAINING
        names = [name for name in training if not (folder / f"{name}.pcap.zst").exists()]
    for name in names:
        if name not in known:
            raise _UsageError(f"no scenario {name!r}; known: {', '.join(known)}")
    failed = 0
    for name in names:
        begun = time.monotonic()
        folder = options.out or (SAMPLES if name in shipped else TRAINING)
        try:
            path = record(known[name], folder)
        except SandboxError as error:
            if len(names) == 1:
                raise
            print(f"lab: {error}", file=sys.stderr)
            failed += 1
            continue
        seconds = round(time.monotonic() - begun, 1)
        if options.json:
            print(json.dumps({"name": name, "capture": str(path), "seconds": seconds}), flush=True)
        else:
            print(f"{name}: {path} ({path.stat().st_size:,} bytes, {seconds} s)", flush=True)
        renew(folder)
    return _BAD if failed else _OK


def _judge(options: argparse.Namespace) -> int:
    captures = [_capture(name) for name in options.names] or sorted(SAMPLES.glob("*.pcap*"))
    if options.events is not None and len(captures) != 1:
        raise _UsageError("--events goes with exactly one capture")
    statuses = []
    for capture in captures:
        facts, labels = read_labels(labels_path(capture))
        if options.events is not None:
            events, status = read_events(options.events.read_text().splitlines()), _OK
        else:
            events, status = replay([options.fortress], capture)
        judgement = judge(labels, events)
        statuses.append(status if judgement.is_good else _BAD)
        name = str(facts["scenario"])
        if options.json:
            print(json.dumps({"name": name, "good": judgement.is_good, **asdict(judgement)}))
        else:
            print("\n".join(_table(name, judgement)), flush=True)
    return _BAD if _BAD in statuses else max(statuses)


def _capture(name: str) -> Path:
    for path in (Path(name), *(SAMPLES / f"{name}.pcap{suffix}" for suffix in ("", ".zst", ".gz"))):
        if path.is_file():
            return path
    raise _UsageError(f"{name}: neither a capture file nor one of {SAMPLES}")


def _table(name: str, judgement: Judgement) -> list[str]:
    word = "good" if judgement.is_good else "BAD"
    peak = "" if judgement.peak_score is None else f", score up to {judgement.peak_score}"
    lines = [f"{name}: {word}{peak} {judgement.peak_status or ''}".rstrip()]
    for hit in judgement.hits:
        label = hit.label
        who = f"{label.detector}: {label.src or 'forged sources'} → {label.dst or 'many'}"
        found = (
            "MISSED" if hit.alert is None else f"found after {hit.seconds} s, risk {hit.alert.risk}"
        )
        lines.append(f"  {who:60} {found}")
    for extra in judgement.extra:
        who = f"{extra.detector}: {extra.src} → {extra.dst}"
        lines.append(f"  {who:60} EXTRA, risk {extra.risk}: {extra.reason}")
    return lines


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `lab list | head` is no error
    sys.exit(main(sys.argv[1:]))
