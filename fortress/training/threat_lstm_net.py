# SPDX-License-Identifier: Apache-2.0
"""The network of `threat-lstm` and how it learns: one plain LSTM, a head for the stage and one that
foretells the next step.

Learning is reproducible (seed; the clock ends it, and changes nothing else), bounded in time, stops
early, and goes on from its checkpoint, which holds numbers alone (`weights_only`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fortress.features.sequence import FEATURES
from fortress.training.threat_lstm_cut import LONGEST
from fortress.training.threat_lstm_cut import Sequence as Steps
from fortress.training.threat_lstm_data import STAGES, UNKNOWN

WIDTH, HIDDEN, CLASSES = len(FEATURES), 64, len(STAGES)
_FORETELLING = 2.0  # weight of the next step's error beside that of the stage
_FORGOTTEN = 0.3  # share of what an LSTM's state says that a stage is learnt without
_HELD_BACK = 0.02  # how much scale and shift are held back to 1 and 0
_BLUR = 0.04  # standard deviation of what is added to sizes, counts and times in learning
_BLURRED = [index for index, feature in enumerate(FEATURES) if "log2" in feature.meaning]
Tell = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How long and how fast; `seconds` bounds the time that learning takes."""

    epochs: int = 24
    patience: int = 5
    batch: int = 32
    rate: float = 3e-3
    seconds: float = 300.0
    seed: int = 20_261_123


class ThreatNet(nn.Module):
    """Steps and a state in; stages, surprise and the state after them out."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, HIDDEN, batch_first=True)
        self.stage = nn.Linear(HIDDEN, CLASSES)
        self.foretell = nn.Linear(HIDDEN, WIDTH)
        self.forget = nn.Dropout(_FORGOTTEN)

    def every_step(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the stage after each step, and what was foretold of each step before it."""
        after, _ = self.lstm(steps)
        before = torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], 1)
        return self.stage(self.forget(after)), self.foretell(before)

    def forward(self, steps: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, ...]:
        """Probabilities of the stage after each step, how much each step surprised (mean squared
        error), and the state h, c after the last.
        """
        after, (h, c) = self.lstm(steps, (h0.unsqueeze(0), c0.unsqueeze(0)))
        before = torch.cat([h0.unsqueeze(1), after], 1)[:, :-1]
        surprise = ((steps - self.foretell(before)) ** 2).mean(2)
        return torch.softmax(self.stage(after), 2), surprise, h[0], c[0]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What came of learning: the network, how long it took, and the loss on held-out sequences."""

    net: ThreatNet
    epochs: int
    loss: float
    seconds: float


def learn(
    real: Sequence[Steps],
    composed: Sequence[Steps],
    settings: Settings,
    tell: Tell,
    checkpoint: Path | None = None,
) -> Learnt:
    """A network that learnt from these sequences.

    A tenth of the real episodes decides when to stop. With a `checkpoint` an earlier run that was
    cut short is taken up where it was; whoever named the file removes it.
    """
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    chance = np.random.default_rng(settings.seed)
    judged, learnt_from = _parted([s for s in real if len(s.steps)], chance)
    pool = [*learnt_from, *(s for s in composed if len(s.steps))]
    weights = _weights(pool)
    net = ThreatNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-3)
    state = _Progress(0, 0, float("inf"), 0.0, _copy(net))
    if checkpoint is not None and checkpoint.exists():
        state = _restore(checkpoint, net, optimizer)
    spent = state.seconds
    while (
        state.epoch < settings.epochs
        and state.stale < settings.patience
        and state.seconds < settings.seconds
    ):
        begun = time.process_time()
        for group in optimizer.param_groups:
            cooled = 0.5 * (1 + float(np.cos(np.pi * state.epoch / settings.epochs)))
            group["lr"] = settings.rate * max(0.05, cooled)
        order = np.random.default_rng((settings.seed, state.epoch)).permutation(len(pool))
        batches = [order[i : i + settings.batch] for i in range(0, len(order), settings.batch)]
        crop = np.random.default_rng((settings.seed, state.epoch, 1))
        total = 0.0
        for number, rows in enumerate(batches):
            some = [pool[row] for row in rows]
            optimizer.zero_grad()
            loss = _loss(net, _batch(some, weights[rows], crop))
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            total += float(loss.detach())
            share = (state.epoch + (number + 1) / len(batches)) / settings.epochs
            used = spent + time.process_time() - begun
            if number % 10 == 9 or number + 1 == len(batches):
                tell(
                    f"epoch {state.epoch + 1} of {settings.epochs}, loss {total / (number + 1):.4f}"
                    f", held out {state.best:.4f}, {_left(used, share, settings)} s left",
                    share,
                )
        spent += time.process_time() - begun
        held_out = _held_out(net, judged)
        better = held_out < state.best - 1e-4
        state = _Progress(
            state.epoch + 1,
            0 if better else state.stale + 1,
            min(held_out, state.best),
            spent,
            _copy(net) if better else state.kept,
        )
        if checkpoint is not None:
            _save(checkpoint, net, optimizer, state)
    net.load_state_dict(state.kept)
    _level(net.eval(), judged)
    return Learnt(net.eval(), state.epoch, state.best, spent)


def probabilities(
    net: ThreatNet, sequences: Sequence[Steps], window: int = 0
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """For each sequence the probability of each stage after each step (steps, classes) and the
    surprise of each step (steps,); the state is carried, or with `window` begins anew for each step
    with the last so many.
    """
    results = []
    with torch.no_grad():
        for one in sequences:
            steps = torch.from_numpy(one.steps).unsqueeze(0)
            if window and len(one.steps) > window:
                logits, surprise = _windowed(net, steps[0], window)
            else:
                stage, foretold = net.every_step(steps)
                logits, surprise = stage[0], ((steps - foretold)[0] ** 2).mean(1)
            results.append((torch.softmax(logits, 1).numpy(), surprise.numpy()))
    return results


def _windowed(net: ThreatNet, steps: Tensor, window: int) -> tuple[Tensor, Tensor]:
    first, foretold = net.every_step(steps[None, :window])
    pieces = [first[0]]
    told = [((steps[None, :window] - foretold)[0] ** 2).mean(1)]
    rest = steps.unfold(0, window, 1)[1:].transpose(1, 2)
    for some in torch.split(rest, 512):
        stage, foretold = net.every_step(some)
        pieces.append(stage[:, -1])
        told.append(((some[:, -1] - foretold[:, -1]) ** 2).mean(1))
    return torch.cat(pieces), torch.cat(told)


@dataclass(frozen=True, slots=True)
class _Progress:
    epoch: int
    stale: int
    best: float
    seconds: float
    kept: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _Batch:
    steps: Tensor
    stage: Tensor
    weight: Tensor


def _parted(real: list[Steps], chance: np.random.Generator) -> tuple[list[Steps], list[Steps]]:
    names = sorted({one.episode for one in real})
    chosen = set(chance.permutation(names)[: max(1, len(names) // 10)].tolist())
    return [s for s in real if s.episode in chosen], [s for s in real if s.episode not in chosen]


def _weights(pool: Sequence[Steps]) -> npt.NDArray[np.float32]:
    """A weight for each stage in each sequence, (sequences, classes): all stages weigh alike over
    all, units alike within a stage, composed ones as one half.
    """
    counts = np.zeros((len(pool), CLASSES))
    for row, one in enumerate(pool):
        counts[row] = np.bincount(one.stage[one.stage != UNKNOWN], minlength=CLASSES)
    units = np.array([one.unit for one in pool])
    mass = np.zeros_like(counts)  # what the flows of a sequence and stage weigh together
    for unit in np.unique(units):
        rows = units == unit
        share = np.sqrt(counts[rows])
        total = share.sum(0)
        own = np.sqrt(np.maximum(total, 1)) if unit != "composed" else np.ones(CLASSES)
        mass[rows] = share / np.maximum(total, 1e-9) * np.where(total > 0, own, 0)
    composed = units == "composed"
    for part in (composed, ~composed):
        total = mass[part].sum(0)
        mass[part] *= np.where(total > 0, 0.5 / np.maximum(total, 1e-9), 0)
    mass[:, 0] *= _CALM
    each = np.where(counts > 0, mass / np.maximum(counts, 1), 0)
    return np.asarray(each * counts.sum() / max(mass.sum(), 1e-9), np.float32)


_CALM = 4.0  # what benign steps weigh beside those of one stage of attack


def _batch(some: Sequence[Steps], weights: npt.NDArray[Any], crop: np.random.Generator) -> _Batch:
    longest = min(LONGEST, max(len(one.steps) for one in some))
    steps = np.zeros((len(some), longest, WIDTH), np.float32)
    stage = np.full((len(some), longest), UNKNOWN, np.int64)
    weight = np.zeros((len(some), longest), np.float32)
    for row, one in enumerate(some):
        start = int(crop.integers(max(len(one.steps) - longest, 0) + 1))
        here = slice(start, start + longest)
        size = len(one.steps[here])
        steps[row, :size], stage[row, :size] = one.steps[here], one.stage[here]
        weight[row, :size] = np.minimum(weights[row][one.stage[here]], 50)
    weight[stage == UNKNOWN] = 0
    return _Batch(torch.from_numpy(steps), torch.from_numpy(stage), torch.from_numpy(weight))


def _loss(net: ThreatNet, batch: _Batch) -> Tensor:
    steps = batch.steps
    if net.training:
        steps = steps.clone()
        steps[..., _BLURRED] += torch.randn_like(steps[..., _BLURRED]) * _BLUR
    logits, foretold = net.every_step(steps)
    error = nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.stage.flatten().clamp(min=0), reduction="none"
    )
    weight = batch.weight.flatten()
    stage = (error * weight).sum() / weight.sum().clamp(min=1e-6)
    calm = (batch.stage == 0).float()  # what is normal is learnt from benign steps alone
    missed = ((batch.steps - foretold) ** 2).mean(2)
    return stage + _FORETELLING * (missed * calm).sum() / calm.sum().clamp(min=1)


def _held_out(net: ThreatNet, judged: Sequence[Steps]) -> float:
    weights, chance = _weights(judged), np.random.default_rng(0)
    net.eval()
    with torch.no_grad():
        losses = [
            float(_loss(net, _batch(judged[i : i + 64], weights[i : i + 64], chance)))
            for i in range(0, len(judged), 64)
        ]
    net.train()
    return float(np.mean(losses)) if losses else 0.0


def _level(net: ThreatNet, judged: Sequence[Steps]) -> None:
    """Scales and shifts the stage's logits, so that a score means much the same in every network:
    logistic regression of attack or none on the sequences that decided when to stop (Platt 1999),
    where attacks and calm weigh alike.
    """
    logits, stages = [], []
    with torch.no_grad():
        for one in judged:
            known = torch.from_numpy(one.stage != UNKNOWN)
            stage, _ = net.every_step(torch.from_numpy(one.steps).unsqueeze(0))
            some = stage[0][known]
            logits.append(torch.logsumexp(some[:, 1:], 1) - some[:, 0])
            stages.append(torch.from_numpy(one.stage > 0)[known])
    score, attack = torch.cat(logits), torch.cat(stages)
    if not attack.any() or attack.all():
        return
    weight = torch.where(attack, 0.5 / attack.sum(), 0.5 / (~attack).sum())
    fit = torch.tensor([1.0, 0.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([fit], max_iter=100)

    def error() -> Tensor:
        optimizer.zero_grad()
        target = attack.float()
        told = nn.functional.binary_cross_entropy_with_logits(
            score * fit[0] + fit[1], target, weight, reduction="sum"
        )
        told = told + _HELD_BACK * ((fit[0] - 1) ** 2 + fit[1] ** 2)
        told.backward()  # type: ignore[no-untyped-call]
        return told

    optimizer.step(error)  # type: ignore[no-untyped-call]
    scale, shift = (float(value) for value in fit.detach())
    with torch.no_grad():
        net.stage.weight.mul_(max(scale, 0.1))
        net.stage.bias.mul_(max(scale, 0.1))
        net.stage.bias[0] -= shift


def _left(used: float, share: float, settings: Settings) -> int:
    return round(min(used / max(share, 1e-6) * (1 - share), max(settings.seconds - used, 0)))


def _copy(net: ThreatNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def _save(path: Path, net: ThreatNet, optimizer: Any, state: _Progress) -> None:
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": state.epoch,
            "stale": state.stale,
            "best": state.best,
            "seconds": state.seconds,
            "kept": state.kept,
        },
        part,
    )
    part.replace(path)


def _restore(path: Path, net: ThreatNet, optimizer: Any) -> _Progress:
    saved = torch.load(path, weights_only=True)
    net.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    return _Progress(saved["epoch"], saved["stale"], saved["best"], saved["seconds"], saved["kept"])
