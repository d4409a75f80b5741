# SPDX-License-Identifier: Apache-2.0
"""`fortress trainer run|findings|label`: models that fit this network, and the labels they need."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from importlib.util import find_spec

from fortress.cli.options import Commands, add_command, add_config, add_json, counted, load_config
from fortress.errors import InputError, UsageError

DAMAGED = 3  # exit code: what could be read was used
NEEDS = ("sklearn", "skl2onnx", "onnx", "scipy", "onnxruntime")

RUN = """\
Import the models that ship into the registry, read the flow archive, fit the flow
classifier to this network, judge it on the last days, and publish it when it does no
worse than the version in use. It is not promoted. Run it daily; it needs the extra
`train` and the installation's key. Exit codes: 0 done, also when there was nothing to
do; 3 some files of the archive were damaged and passed over; 75 another run is at it."""
LABEL = """\
Say what a finding was. Flows of confirmed findings are learnt as attacks, flows near a
false alarm as ordinary; near all others nothing is learnt. ID is what `fortress trainer
findings` prints."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(commands, "trainer", "the job that fits models to this network", None)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb = add_command(verbs, "run", "train, judge and publish once", run, RUN)
    add_json(verb, "print the steps and the summary as JSON objects")
    add_config(verb)
    verb = add_command(verbs, "findings", "list findings with their ids and labels", findings)
    verb.add_argument("--most", metavar="N", type=int, default=50, help="default: 50")
    add_json(verb, "print one JSON object for each finding")
    add_config(verb)
    verb = add_command(verbs, "label", "say what a finding was", label, LABEL)
    verb.add_argument("id", metavar="ID", type=int, help="the finding")
    verb.add_argument("opinion", choices=("confirmed", "false_alarm", "none"))
    add_config(verb)


def run(arguments: argparse.Namespace) -> int:
    """Run `trainer run`."""
    if lacking := [package for package in NEEDS if find_spec(package) is None]:
        raise UsageError(f"training needs {', '.join(lacking)}: install the extra `train`")
    from fortress.services.trainer.service import run as run_trainer

    def tell(step: str, share: float) -> None:
        if arguments.json:
            print(json.dumps({"step": step, "done": round(share, 4)}), flush=True)
        else:
            print(f"{share:4.0%}  {step}", file=sys.stderr, flush=True)

    done = run_trainer(load_config(arguments).settings, tell)
    for damage in done.damages:
        print(f"fortress: {damage}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(asdict(done), ensure_ascii=False))
    else:
        print(f"{counted(done.flows, 'flow/flows')} in {counted(done.files, 'file/files')} read")
        print(done.public)
        print(done.told)
    return DAMAGED if done.damages else 0


def findings(arguments: argparse.Namespace) -> int:
    """Run `trainer findings`."""
    from fortress.store.opinions import read_findings

    url = load_config(arguments).settings.store_url()
    for one in read_findings(url, 0, 1 << 62, arguments.most):
        if arguments.json:
            print(json.dumps(asdict(one), ensure_ascii=False))
        else:
            about = f"{one.host} → {one.target}" if one.target else one.host
            print(f"{one.id}  {one.opinion or '-'}  {one.detector}  {about}  {one.signature}")
    return 0


def label(arguments: argparse.Namespace) -> int:
    """Run `trainer label`."""
    from fortress.store import Store

    opinion = None if arguments.opinion == "none" else arguments.opinion
    with Store(load_config(arguments).settings.store_url()) as store:
        if not store.opine(arguments.id, opinion):
            raise InputError(f"no finding {arguments.id}; fortress trainer findings lists them")
    print(f"finding {arguments.id}: {arguments.opinion}")
    return 0
