# SPDX-License-Identifier: Apache-2.0
"""`fortress doctor`: what works on this machine, what is missing and how to get it."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from fortress.cli import doctor_kernel
from fortress.cli.check import Check
from fortress.cli.options import Commands, add_command, add_config, add_json, load_config
from fortress.errors import FortressError, GuardError

if TYPE_CHECKING:
    from fortress.config import Settings

LOW_DISK_BYTES = 1 << 30
SQLITE = "sqlite:///"

DESCRIPTION = """\
Look at what Fortress needs on this machine. Exit code 0: the main job works;
1: something it needs is missing."""

_MARKS = {"ok": ("✓", "green"), "missing": ("✗", "red"), "note": ("–", "yellow")}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "doctor", "say what works here, what is missing, how to get it", run, DESCRIPTION
    )
    add_json(parser, "print one JSON object for each check")
    parser.add_argument(
        "--bcc",
        action="store_true",
        help="also count for 3 s, by BCC (python3-bpfcc), why the kernel throws packets away",
    )
    add_config(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    missing = False
    for check in _checks(load_config(arguments).settings, arguments.bcc):
        missing |= check.state == "missing"
        if arguments.json:
            print(json.dumps(asdict(check), ensure_ascii=False), flush=True)
        else:
            _print(check)
    return FortressError.exit_code if missing else 0


def _checks(settings: Settings, bcc: bool) -> Iterator[Check]:
    looks: tuple[tuple[str, Callable[[Settings], Check]], ...] = (
        ("python", _python),
        ("core", _core),
        ("model", _model),
        ("state", _state),
        ("store", _store),
        ("parquet", _parquet),
        ("memory", _memory),
        ("sample", _sample),
        ("live capture", _live),
        ("guard", _guard),
        ("capabilities", doctor_kernel.capabilities),
        ("kernel", doctor_kernel.kernel),
        ("BPF", doctor_kernel.bpf),
        ("XDP", doctor_kernel.xdp),
        ("BTF", doctor_kernel.btf),
        ("nft", _nft),
        ("flowtable", _flowtable),
        ("energy", doctor_kernel.energy),
    )
    for name, look in looks:
        try:
            yield look(settings)
        except (FortressError, ImportError, OSError) as error:
            how = "./dev setup" if isinstance(error, ImportError) else ""
            yield Check(name, "missing", str(error), how)
    from fortress.cli.doctor_ports import ports

    try:
        yield from ports(settings.capture.interfaces)
    except OSError as error:
        yield Check("interfaces", "note", f"the kernel does not tell of them: {error.strerror}")
    if bcc:
        from fortress.cli.doctor_bcc import dropped

        yield dropped()


def _python(_: Settings) -> Check:
    return Check("python", "ok", f"{platform.python_version()} on {platform.machine()}")


def _core(_: Settings) -> Check:
    core = importlib.import_module("fortress_core")
    columns = len(core.columns(core.FLOWS))
    return Check("core", "ok", f"the C core loads, {columns} flow columns")


def _model(settings: Settings) -> Check:
    from fortress.inference.configured import registry_of
    from fortress.inference.opening import open_model

    registry, told, refused = registry_of(settings), [], []
    for name in registry.names():
        entry, _, problems = registry.load_usable(name, open_model)
        told.append(f"{name} {entry.recipe.version}")
        refused += [str(one) for one in problems]
    if refused:
        remedy = "publish a good one, or fortress model rollback NAME"
        return Check("model", "note", f"{', '.join(told)}; refused: {'; '.join(refused)}", remedy)
    return Check("model", "ok", f"{', '.join(told)}: verified")


def _state(settings: Settings) -> Check:
    folder = settings.state_dir
    try:
        free = shutil.disk_usage(_writable(folder)).free
    except OSError as error:
        return _unwritable("state", folder, error, "state_dir (FORTRESS_STATE_DIR)")
    what = f"{folder} can be written, {free / 1e9:.1f} GB free"
    if free < LOW_DISK_BYTES:
        return Check("state", "note", what, "make room, or set state_dir")
    return Check("state", "ok", what)


def _writable(folder: Path) -> Path:
    """The folder, or where it would be made, after a file could be made there; OSError else."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    with tempfile.TemporaryFile(dir=there):
        return there


def _unwritable(name: str, place: Path, error: OSError, setting: str) -> Check:
    what = f"{place} cannot be written by this user ({error.strerror})"
    return Check(name, "missing", what, f"set {setting} to a place that can, or run as its owner")


def _store(settings: Settings) -> Check:
    if not settings.store.enabled:
        return Check("store", "note", "switched off", "store.enabled = true")
    from fortress.store import Store

    url = settings.store_url()
    file = Path(url.removeprefix(SQLITE))
    try:
        if url.startswith(SQLITE) and not file.exists():
            _writable(file.parent)
            return Check("store", "ok", f"{url}: will be made by the first run")
    except OSError as error:
        return _unwritable("store", file, error, "store.url or state_dir")
    with Store(url) as store:
        return Check("store", "ok", f"{store.url}: {len(store.runs())} runs")


def _parquet(_: Settings) -> Check:
    arrow = importlib.import_module("pyarrow")
    return Check("parquet", "ok", f"pyarrow {arrow.__version__}: fortress flows can write Parquet")


def _memory(settings: Settings) -> Check:
    lines = dict(
        line.split(":", 1)
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    )
    available_mib = int(lines["MemAvailable"].split()[0]) >> 10
    budget_mib = settings.flows.budget_mib
    what = f"flow table {budget_mib} MiB of {available_mib} MiB available"
    if 2 * budget_mib > available_mib:
        return Check("memory", "note", what, "lower flows.budget_mib")
    return Check("memory", "ok", what)


def _sample(_: Settings) -> Check:
    from fortress.cli.up import shipped_sample

    try:
        return Check("sample", "ok", f"{shipped_sample()}: `fortress up --once` replays it")
    except FortressError as error:
        return Check("sample", "note", str(error))


def _live(settings: Settings) -> Check:
    from fortress.services.agent.ports import CaptureError, choose

    try:
        choice = choose(Path(settings.respond.guard) if settings.respond.guard else None)
    except CaptureError:  # why no guard answers is said in the guard's own line
        what = "this user may not (CAP_NET_RAW), and no guard does it instead"
        return Check("live capture", "note", what, "start the guard, or run as root")
    name = "AF_PACKET by the guard" if choice.opener == "guard" else "AF_PACKET"
    return Check("live capture", "ok", f"{name}: {choice.why.partition(';')[0]}")


def _guard(settings: Settings) -> Check:
    from fortress.respond.client import GuardClient

    if not settings.respond.guard:
        return Check("guard", "note", "switched off", 'respond.guard = "/run/fortress/guard.sock"')
    try:
        with GuardClient(settings.respond.guard, session="", wait_s=2) as guard:
            facts = guard.hello()
    except GuardError as error:
        return Check("guard", "note", error.what, error.remedy)
    backends = ", ".join(facts.backends)
    return Check(
        "guard", "ok", f"pid {facts.pid}, blocks by {backends}; mode {settings.respond.mode}"
    )


def _nft(_: Settings) -> Check:
    from fortress.respond.libnftables import Nft

    try:
        with Nft():
            pass
    except GuardError as error:
        return Check("nft", "note", error.what, error.remedy)
    return Check("nft", "ok", "libnftables loads: the guard can block")


def _flowtable(_: Settings) -> Check:
    from fortress.cli.doctor_ports import hidden

    return hidden()


def _print(check: Check) -> None:
    from rich.console import Console
    from rich.text import Text

    mark, colour = _MARKS[check.state]
    line = Text.assemble((f"{mark} ", colour), (f"{check.name:<13}", "bold"), check.what)
    if check.how:
        line.append(f"  → {check.how}", "dim")
    Console(file=sys.stdout, highlight=False, soft_wrap=True).print(line)
