# SPDX-License-Identifier: Apache-2.0
"""Sequences for the model `threat-lstm`: cut from captures by originator, or composed of them.

A composed sequence is one originator that goes about its business and then, at chance times, does
what attackers in some other captures did, stage by stage: flows are moved in time, given one
originator, put into the order in which they would have ended, and only then become steps, so that
gaps, novelty and ranks are those of the whole. Composed sequences are learnt from, never judged on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fortress.features.keys import address_key, as_host, group, words
from fortress.features.sequence import Sequencer, Steps
from fortress.training.threat_lstm_data import UNKNOWN, Episode

LONGEST = 256  # steps of a sequence that is learnt from; a longer one is cut at chance places
MOST_PER_EPISODE = 24  # sequences; a resolver's thousand clients are much alike
_SECRET = 0x5EED
_CAPACITY = 1 << 16
_SECOND = 1_000_000_000
_LINGER_NS, _IDLE_NS = 5 * _SECOND, 120 * _SECOND
_MOST_ATTACK_FLOWS = 400
_PAUSE_S = (1.0, 300.0)


@dataclass(frozen=True, slots=True)
class Sequence:
    """An originator's steps, float32 (steps, features), the stage of each, and whence they come.

    `row` is the number of each step's flow in its episode, empty for a composed sequence.
    """

    steps: npt.NDArray[np.float32]
    stage: npt.NDArray[np.int8]
    unit: str
    origin: str
    episode: str
    row: npt.NDArray[np.intp]


def cut(episodes: Iterable[Episode]) -> Iterator[Sequence]:
    """Every originator's whole sequence of every episode, in order of first appearance."""
    for episode in episodes:
        taken = _steps_of(episode)
        order = np.argsort(taken.slot, kind="stable")
        bounds = np.flatnonzero(np.diff(taken.slot[order])) + 1
        for some in np.split(order, bounds):
            if len(some):
                yield Sequence(
                    taken.matrix[some],
                    episode.stage[taken.row[some]],
                    episode.unit,
                    episode.origin,
                    episode.name,
                    taken.row[some],
                )


def _steps_of(episode: Episode) -> Steps:
    sequencer = Sequencer(min(_CAPACITY, len(episode.stage)), _SECRET)
    return sequencer.observe(episode.flows, int(episode.flows["last_ns"].max()))


def compose(episodes: Iterable[Episode], count: int, seed: int) -> Iterator[Sequence]:
    """`count` composed sequences, a third of them of benign traffic alone."""
    chance = np.random.default_rng(seed)
    calm, attacks = _parts(episodes)
    stages = sorted(attacks)
    for number in range(count):
        parts = [calm[chance.integers(len(calm))] for _ in range(chance.integers(1, 4))]
        if stages and number % 3:
            for stage in stages:
                if chance.random() < 0.45:
                    tools = attacks[stage]
                    names = sorted(tools)
                    of_tool = tools[names[chance.integers(len(names))]]
                    parts.append(_window(of_tool[chance.integers(len(of_tool))], chance))
        episode = _joined(parts, chance)
        taken = _steps_of(episode)
        yield Sequence(
            taken.matrix,
            episode.stage[taken.row],
            "composed",
            "composed",
            "composed",
            taken.row[:0],
        )


def _parts(
    episodes: Iterable[Episode],
) -> tuple[list[Episode], dict[int, dict[str, list[Episode]]]]:
    """Single originators' flows: those of benign ones, and attacks by stage and unit."""
    calm: list[Episode] = []
    attacks: dict[int, dict[str, list[Episode]]] = {}
    for episode in episodes:
        groups = group(address_key(_SECRET, as_host(words(episode.flows["orig_addr"]))))
        for some in _biggest(groups.of_row):
            own = episode.take(some)
            if (own.stage == 0).sum() >= 3 and not (own.stage > 0).any():
                calm.append(own)
            for stage in np.unique(own.stage[own.stage > 0]):
                part = own.take(np.flatnonzero(own.stage == stage))
                attacks.setdefault(int(stage), {}).setdefault(episode.unit, []).append(part)
    return calm, attacks


def _biggest(of_row: npt.NDArray[np.intp]) -> list[npt.NDArray[np.intp]]:
    """Rows by group, of the groups with most rows."""
    order = np.argsort(of_row, kind="stable")
    pieces = np.split(order, np.flatnonzero(np.diff(of_row[order])) + 1)
    return sorted(pieces, key=len, reverse=True)[:MOST_PER_EPISODE]


def _window(part: Episode, chance: np.random.Generator) -> Episode:
    """A run of flows of an attack, of chance length and place."""
    size = int(min(len(part.stage), np.ceil(_MOST_ATTACK_FLOWS ** chance.uniform(0.2, 1.2))))
    start = chance.integers(len(part.stage) - size + 1)
    return part.take(np.arange(start, start + size))


def _joined(parts: list[Episode], chance: np.random.Generator) -> Episode:
    """One originator that does all of it: benign parts at chance times of the whole, attacks one
    after another.
    """
    starts, at = [], 0.0
    for part in parts:
        attack = bool((part.stage > 0).any())
        starts.append(at if attack else chance.uniform(0, 120))
        if attack:
            at += _length_s(part) + float(np.exp(chance.uniform(*np.log(_PAUSE_S))))
    columns: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in parts[0].flows}
    for part, start in zip(parts, starts, strict=True):
        shift = int(start * _SECOND) - int(part.flows["first_ns"].min())
        pace = float(np.exp(chance.uniform(-0.5, 0.5)))
        for name, column in part.flows.items():
            if name in ("first_ns", "last_ns"):
                begin = part.flows["first_ns"].min()
                paced = begin + ((part.flows["first_ns"] - begin) * pace).astype(np.int64)
                length = part.flows["last_ns"] - part.flows["first_ns"]
                column = paced + shift + (length if name == "last_ns" else 0)
            elif name in ("orig_addr", "orig_mac"):
                column = np.repeat(parts[0].flows[name][:1], len(column))
            columns[name].append(column)
    flows = {name: np.concatenate(column) for name, column in columns.items()}
    ended = (flows["proto"] == 6) & ~np.isin(flows["conn_state"], (0, 1, 11, 12))
    order = np.argsort(flows["last_ns"] + np.where(ended, _LINGER_NS, _IDLE_NS), kind="stable")
    stage = np.concatenate([part.stage for part in parts])[order]
    flows = {name: column[order] for name, column in flows.items()}
    return Episode("composed", "composed", "composed", flows, stage)


def _length_s(part: Episode) -> float:
    return float(part.flows["last_ns"].max() - part.flows["first_ns"].min()) / _SECOND


def learnable(sequence: Sequence) -> bool:
    """Whether a step of it has a known stage."""
    return bool((sequence.stage != UNKNOWN).any())
