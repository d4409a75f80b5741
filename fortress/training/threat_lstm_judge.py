# SPDX-License-Identifier: Apache-2.0
"""What `threat-lstm` is worth on what it has not seen: units held out in turn, and whole origins.

Every step of every real sequence is judged once by a network that learnt nothing of its unit (a
tool and its maker, a scenario of the laboratory, an application, a log). The threshold that it is
judged at was picked on the other folds. Composed sequences are learnt from alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from fortress.inference import Calibration
from fortress.training.evaluate import Rate, bootstrap
from fortress.training.threat_lstm_cut import Sequence as Steps
from fortress.training.threat_lstm_cut import compose, cut, learnable
from fortress.training.threat_lstm_data import STAGES, UNKNOWN, Corpus, Episode
from fortress.training.threat_lstm_net import Settings, Tell, ThreatNet, learn, probabilities

FOLDS = 4
TARGET = 3e-3  # of benign originators
MOST_OF_CAPTURE = 300  # benign steps that count where a risk is calibrated
ENOUGH = 3  # flagged steps that make an originator suspicious
COMPOSED = 800
PRIOR = 0.01  # share of attacks among steps that a risk is stated for
SEED = 20_261_123
_KNOTS = 48
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every judged step: its true stage, the probability of each (steps, classes), its surprise,
    and where it comes from (strings); `sequence` numbers originators, `fold` who judged it.
    """

    stage: npt.NDArray[np.int8]
    probability: npt.NDArray[np.float32]
    surprise: npt.NDArray[np.float32]
    sequence: npt.NDArray[np.intp]
    fold: npt.NDArray[np.intp]
    episode: npt.NDArray[np.str_]
    unit: npt.NDArray[np.str_]
    origin: npt.NDArray[np.str_]

    @property
    def score(self) -> npt.NDArray[np.float32]:
        """One minus the probability of no attack."""
        score: npt.NDArray[np.float32] = 1 - self.probability[:, 0]
        return score

    def where(self, rows: Bools) -> Outcome:
        """Some of the steps."""
        return Outcome(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Worth:
    """What the judged steps say at their thresholds.

    `recall` by stage is the mean over units, each counting once; `found` the share of originators
    of each stage with ENOUGH flagged steps; `precision` of a stage weighs benign steps as they
    are. False alarms: steps, originators and captures.
    """

    recall: Mapping[str, float]
    right: Mapping[str, float]
    precision: Mapping[str, float]
    units: Mapping[str, int]
    by_unit: Mapping[str, Rate]
    false_steps: Rate
    false_steps_bootstrap: tuple[float, float]
    false_originators: Rate
    false_captures: Rate
    false_by_origin: Mapping[str, Rate]
    surprise_auc: float


def fold_of(units: Iterable[str], folds: int = FOLDS, seed: int = SEED) -> dict[str, int]:
    """The fold of each unit: laboratory and public ones are dealt out apart, by chance."""
    chance = np.random.default_rng(seed)
    result: dict[str, int] = {}
    names = sorted(set(units))
    for lab in (True, False):
        some = [name for name in names if name.startswith("lab:") == lab]
        for number, index in enumerate(chance.permutation(len(some))):
            result[some[index]] = number % folds
    return result


def held_out(
    corpus: Corpus, settings: Settings, tell: Tell, room: Path, windows: tuple[int, ...] = (0,)
) -> dict[int, Outcome]:
    """All steps, judged by networks that learnt nothing of their unit: with so many steps of
    context (0: all before it).
    """
    folds = fold_of(episode.unit for episode in corpus.episodes)
    turns = _Turns("unit", FOLDS, lambda episode: folds[episode.unit], room, windows)
    return _in_turn(corpus, turns, settings, tell)


def other_origins(corpus: Corpus, settings: Settings, tell: Tell, room: Path) -> dict[str, Outcome]:
    """All steps of each group of origins, judged by a network that learnt from the others alone."""
    groups = ("lab", "logs", "captures")

    def group_of(episode: Episode) -> int:
        if episode.origin == "lab":
            return 0
        return 1 if episode.unit.startswith("log:") else 2

    turns = _Turns("origin", len(groups), group_of, room, (0,))
    outcome = _in_turn(corpus, turns, settings, tell)[0]
    return {name: outcome.where(outcome.fold == n) for n, name in enumerate(groups)}


@dataclass(frozen=True, slots=True)
class _Turns:
    """What is held out in turn; checkpoints lie in `room`."""

    name: str
    count: int
    of: Callable[[Episode], int]
    room: Path
    windows: tuple[int, ...]


def _in_turn(corpus: Corpus, turns: _Turns, settings: Settings, tell: Tell) -> dict[int, Outcome]:
    parts: dict[int, list[Outcome]] = {window: [] for window in turns.windows}
    for turn in range(turns.count):
        rest = [e for e in corpus.episodes if turns.of(e) != turn]
        here = [e for e in corpus.episodes if turns.of(e) == turn]

        def say(step: str, share: float, turn: int = turn) -> None:
            words = f"{turns.name} held out {turn + 1} of {turns.count}: {step}"
            tell(words, (turn + share) / turns.count)

        net = learn_from(rest, settings, say, turns.room / f"{turns.name}{turn}.pt")
        for window, outcomes in parts.items():
            outcomes.append(judged(net, here, turn, window))
    return {window: _joined(outcomes) for window, outcomes in parts.items()}


def learn_from(
    episodes: Sequence[Episode], settings: Settings, tell: Tell, checkpoint: Path | None = None
) -> ThreatNet:
    """A network that learnt from these episodes and from what can be composed of them."""
    real = [one for one in cut(episodes) if learnable(one)]
    composed = list(compose(episodes, COMPOSED, settings.seed))
    return learn(real, composed, settings, tell, checkpoint).net


def judged(net: ThreatNet, episodes: Iterable[Episode], fold: int = 0, window: int = 0) -> Outcome:
    """Every step of known stage of these episodes, judged by a network."""
    sequences = [one for one in cut(episodes) if learnable(one)]
    told = probabilities(net, sequences, window)
    parts = [
        _outcome(one, said, number, fold)
        for number, (one, said) in enumerate(zip(sequences, told, strict=True))
    ]
    return _joined(parts)


def _outcome(
    one: Steps,
    said: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    number: int,
    fold: int,
) -> Outcome:
    known = one.stage != UNKNOWN
    count = int(known.sum())
    return Outcome(
        one.stage[known],
        said[0][known],
        said[1][known],
        np.full(count, number),
        np.full(count, fold),
        np.full(count, one.episode),
        np.full(count, one.unit),
        np.full(count, one.origin),
    )


def _joined(parts: Sequence[Outcome]) -> Outcome:
    offset, shifted = 0, []
    for part in parts:
        shifted.append(part.sequence + offset)
        offset += int(part.sequence.max(initial=-1)) + 1
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in Outcome.__slots__
    }
    return Outcome(**{**columns, "sequence": np.concatenate(shifted)})


def pick_threshold(outcome: Outcome) -> float:
    """The lowest score at which at most TARGET of the benign originators are suspicious."""
    rows = np.isin(outcome.sequence, _calm_sequences(outcome))
    sequence, score = outcome.sequence[rows], outcome.score[rows]
    order = np.lexsort((-score, sequence))
    sequence, score = sequence[order], score[order]
    begins = np.flatnonzero(np.append(True, sequence[1:] != sequence[:-1]))
    counts = np.diff(begins, append=len(sequence))
    enough = begins[counts >= ENOUGH] + ENOUGH - 1  # the score from which it is suspicious
    falling = np.sort(np.append(score[enough], np.zeros(len(begins) - len(enough))))[::-1]
    limit = falling[int(TARGET * len(falling))]
    return float(np.clip(np.nextafter(np.float32(limit), np.float32(2)), 0.05, 0.9999))


def thresholds(outcome: Outcome) -> npt.NDArray[np.float32]:
    """For each step the threshold picked on the other folds."""
    result = np.empty(len(outcome.stage), np.float32)
    for fold in np.unique(outcome.fold):
        result[outcome.fold == fold] = pick_threshold(outcome.where(outcome.fold != fold))
    return result


def worth(outcome: Outcome, threshold: npt.NDArray[np.float32] | float) -> Worth:
    """What the steps say at the threshold (of each)."""
    flagged = outcome.score >= threshold
    said = np.where(flagged, 1 + outcome.probability[:, 1:].argmax(1), 0)
    attack, benign = outcome.stage > 0, outcome.stage == 0
    recall, right, precision, units = {}, {}, {}, {}
    by_unit: dict[str, Rate] = {}
    for number, name in enumerate(STAGES[1:], 1):
        of_stage = outcome.stage == number
        names = np.unique(outcome.unit[of_stage])
        rates, rights = [], []
        for unit in names:
            rows = of_stage & (outcome.unit == unit)
            rates.append(flagged[rows].mean())
            rights.append((said[rows] == number).mean())
            by_unit[f"{name}: {unit}"] = Rate(int(flagged[rows].sum()), int(rows.sum()))
        if len(names):
            recall[name], right[name] = float(np.mean(rates)), float(np.mean(rights))
            units[name] = len(names)
            claimed = (said == number) & (attack | benign)
            precision[name] = (
                float((outcome.stage[claimed] == number).mean()) if claimed.any() else 0
            )
    calm = _calm_sequences(outcome)
    counts = np.bincount(outcome.sequence[flagged], minlength=int(outcome.sequence.max()) + 1)
    captures = np.unique(outcome.episode[benign])
    rows_auc = np.isfinite(outcome.surprise)
    return Worth(
        recall,
        right,
        precision,
        units,
        by_unit,
        Rate(int(flagged[benign].sum()), int(benign.sum())),
        bootstrap(outcome.episode[benign], flagged[benign]),
        Rate(int((counts[calm] >= ENOUGH).sum()), len(calm)),
        Rate(len(np.unique(outcome.episode[benign & flagged])), len(captures)),
        {
            str(origin): Rate(int(flagged[rows].sum()), int(rows.sum()))
            for origin in np.unique(outcome.origin[benign])
            if (rows := benign & (outcome.origin == origin)).any()
        },
        float(roc_auc_score(attack[rows_auc], outcome.surprise[rows_auc])) if attack.any() else 0.0,
    )


def mean_recall(worth: Worth) -> tuple[float, float, float]:
    """The mean over stages of the mean over units, and its 95 % interval by drawing units anew."""
    shares: dict[str, list[float]] = {}
    for name, rate in worth.by_unit.items():
        shares.setdefault(name.split(":")[0], []).append(rate.value)
    chance = np.random.default_rng(SEED)
    drawn = [
        chance.choice(np.array(units), (2000, len(units))).mean(axis=1) for units in shares.values()
    ]
    low, high = np.percentile(np.mean(drawn, axis=0), (2.5, 97.5)) if drawn else (0.0, 1.0)
    value = float(np.mean([np.mean(units) for units in shares.values()])) if shares else 0.0
    return value, float(low), float(high)


def _calm_sequences(outcome: Outcome) -> npt.NDArray[np.intp]:
    """Numbers of the sequences that hold no attack."""
    everyone = np.unique(outcome.sequence)
    return everyone[~np.isin(everyone, outcome.sequence[outcome.stage > 0])]


def calibrate_risk(outcome: Outcome) -> Calibration:
    """The table from score to the probability of attack at PRIOR, isotonic over held-out steps;
    units weigh alike among attacks, captures by at most MOST_OF_CAPTURE steps among benign ones.
    """
    attack = outcome.stage > 0
    weight = np.empty(len(attack))
    _, of_row, count = np.unique(outcome.unit[attack], return_inverse=True, return_counts=True)
    weight[attack] = 1 / count[of_row]
    weight[~attack] = capped(outcome.episode[~attack])
    weight[attack] *= PRIOR / (1 - PRIOR) * (weight[~attack].sum() + 1) / weight[attack].sum()
    table = IsotonicRegression(y_min=0, y_max=1)
    table.fit(np.append(outcome.score, 1.0), np.append(attack, False), np.append(weight, 1.0))
    score = np.unique(np.concatenate([[0.0], table.X_thresholds_.round(6), [1.0]]))
    score = score[np.unique(np.linspace(0, len(score) - 1, _KNOTS).round().astype(int))]
    risk = 0.999 * table.predict(score.clip(float(outcome.score.min()), 1)) + 0.001 * score
    return Calibration(tuple(score.tolist()), tuple(np.maximum.accumulate(risk).round(6).tolist()))


def calibrate_surprise(outcome: Outcome) -> Calibration:
    """The table from surprise to the share of benign steps that surprise less."""
    benign = np.sort(outcome.surprise[outcome.stage == 0].astype(np.float64))
    share = np.concatenate([np.linspace(0, 0.95, 20), [0.97, 0.98, 0.99, 0.995, 0.999, 1.0]])
    values = np.quantile(benign, share)
    score, first = np.unique(np.append(0.0, values).round(7), return_index=True)
    return Calibration(tuple(score.tolist()), tuple(np.append(0.0, share)[first].tolist()))


def capped(episode: npt.NDArray[np.str_]) -> Floats:
    """What each benign step weighs: a capture counts for at most MOST_OF_CAPTURE of them."""
    _, of_row, count = np.unique(episode, return_inverse=True, return_counts=True)
    return np.minimum(1, MOST_OF_CAPTURE / count)[of_row]
