# SPDX-License-Identifier: Apache-2.0
"""From the network of `threat-lstm` to the graphs that are published: whole windows, carried state,
and both in integers of 8 bits; each compared with the network.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from fortress.errors import ModelError
from fortress.inference.session import open_session
from fortress.inference.threat_sequence import CARRIED
from fortress.training.threat_lstm_net import HIDDEN, WIDTH, ThreatNet

OPSET = 17
MAX_DIFFERENCE = 1e-5  # in probability, surprise and state
BATCHES, LENGTHS = (1, 7, 1024), (1, 2, 3, 17, 64, 256)
_MOST_STEPS = 1 << 16  # of one comparison: torch keeps every state
INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Graphs:
    """The published graphs and the largest difference from the network over all of them."""

    window: bytes
    carried: bytes
    int8: bytes
    difference: float
    int8_difference: float

    def variants(self) -> dict[str, bytes]:
        """The further graphs by name."""
        return {CARRIED: self.carried, INT8: self.int8}


class _Window(nn.Module):
    """The network on whole windows: the state begins at rest."""

    def __init__(self, net: ThreatNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        after, (h, _) = self.net.lstm(sequence)
        before = torch.cat([torch.zeros_like(after[:, :1]), after], 1)[:, -2]
        surprise = ((sequence[:, -1] - self.net.foretell(before)) ** 2).mean(1)
        return torch.softmax(self.net.stage(h[0]), 1), surprise


def to_graphs(net: ThreatNet) -> Graphs:
    """The graphs of a network. Raises ModelError when one differs from it by more than
    MAX_DIFFERENCE.
    """
    net.eval()
    torch.set_num_threads(1)
    steps, state = torch.randn(3, 5, WIDTH), torch.randn(3, HIDDEN)
    window = _export(_Window(net), (steps,), ["sequence"], ["stage", "surprise"])
    names = ["stage", "surprise", "h", "c"]
    carried = _export(net, (steps, state, state), ["sequence", "h0", "c0"], names)
    worst = max(difference(net, window), difference(net, carried))
    if not worst <= MAX_DIFFERENCE:
        raise ModelError(f"ONNX differs from torch by {worst:.2e}, allowed is {MAX_DIFFERENCE}")
    int8 = _quantized(window)
    return Graphs(window, carried, int8, worst, difference(net, int8))


def difference(net: ThreatNet, graph: bytes) -> float:
    """The largest difference between network and graph over BATCHES and LENGTHS."""
    session = open_session(graph, Path("threat-lstm.onnx"))
    chance = np.random.default_rng(7)
    worst = 0.0
    for batch in BATCHES:
        for length in LENGTHS:
            rows = min(batch, max(_MOST_STEPS // length, 1))
            steps = chance.uniform(-1, 1, (rows, length, WIDTH)).astype(np.float32)
            worst = max(worst, _apart(net, session, steps, chance))
    return worst


def agreement(graphs: Graphs, windows: npt.NDArray[np.float32], threshold: float) -> float:
    """The share of windows of which both graphs say alike whether and which attack it is."""
    said = []
    for graph in (graphs.window, graphs.int8):
        probability = open_session(graph, Path("graph.onnx")).run(["stage"], {"sequence": windows})[
            0
        ]
        found = 1 - probability[:, 0] >= threshold
        said.append(np.where(found, 1 + probability[:, 1:].argmax(1), 0))
    return float((said[0] == said[1]).mean())


def _apart(
    net: ThreatNet, session: Any, steps: npt.NDArray[np.float32], chance: np.random.Generator
) -> float:
    shape = (len(steps), HIDDEN)
    if len(session.get_inputs()) == 3:
        h, c = (chance.uniform(-1, 1, shape).astype(np.float32) for _ in range(2))
        feed = {"sequence": steps, "h0": h, "c0": c}
    else:
        h = c = np.zeros(shape, np.float32)
        feed = {"sequence": steps}
    with torch.no_grad():
        ours = net(*(torch.from_numpy(part) for part in (steps, h, c)))
    if len(feed) == 1:  # whole windows tell of the last step alone
        ours = tuple(part[:, -1] for part in ours[:2])
    theirs = session.run(None, feed)
    return max(float(np.abs(a.numpy() - b).max()) for a, b in zip(ours, theirs, strict=False))


def _export(
    net: nn.Module, example: tuple[Tensor, ...], inputs: list[str], outputs: list[str]
) -> bytes:
    """One file, its weights inside, any number of rows and steps.

    The exporter over TorchScript: the newer one (torch 2.13) fixes the number of steps of whole
    windows to the example's.
    """
    with tempfile.TemporaryDirectory(prefix="fortress-export.") as room:
        path = Path(room) / "graph.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter speaks of its own future
            torch.onnx.export(
                net.eval(),
                example,
                path,
                dynamo=False,
                opset_version=OPSET,
                input_names=inputs,
                output_names=outputs,
                dynamic_axes={
                    "sequence": {0: "rows", 1: "steps"},
                    **{name: {0: "rows"} for name in inputs[1:]},
                    **{name: {0: "rows", 1: "steps"} for name in outputs if len(inputs) > 1},
                    **{name: {0: "rows"} for name in outputs if name in "hc" or len(inputs) == 1},
                },
            )
        return _tidied(onnx.load(path))


def _tidied(model: Any) -> bytes:
    for field in ("producer_name", "producer_version", "doc_string", "metadata_props"):
        model.ClearField(field)
    del model.graph.value_info[:]
    model.graph.name = "fortress"
    for node in model.graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def _quantized(graph: bytes) -> bytes:
    """The graph with the LSTM's weights in 8 bits (com.microsoft.DynamicQuantizeLSTM)."""
    with tempfile.TemporaryDirectory(prefix="fortress-export.") as room:
        path, out = Path(room) / "graph.onnx", Path(room) / "int8.onnx"
        path.write_bytes(graph)
        quantize_dynamic(path, out, weight_type=QuantType.QInt8, op_types_to_quantize=["LSTM"])
        return _tidied(onnx.load(out))
