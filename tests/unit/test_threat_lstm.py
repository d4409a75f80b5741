"""What the sequence model learns from, how it learns, and how it is judged."""

import json
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="FORTRESS_TORCH_INDEX=… ./dev test installs it")

import torch

from fortress.errors import InputError
from fortress.training import threat_lstm_judge as judge
from fortress.training import threat_lstm_logs
from fortress.training.threat_lstm import export_threat_lstm, held_out_figures
from fortress.training.threat_lstm_cut import LONGEST, compose, cut, learnable
from fortress.training.threat_lstm_data import (
    STAGES,
    UNKNOWN,
    Corpus,
    Episode,
    demonstration,
    is_reserved,
)
from fortress.training.threat_lstm_logs import read_logs
from fortress.training.threat_lstm_net import Settings, learn, probabilities
from tests.unit.test_features_sequence import SECOND, addresses, flows

QUICK = Settings(epochs=3, patience=3, batch=8, seconds=60)


def told(label: str, share: float) -> None:
    """Progress that nobody looks at."""


def benign(number: int, count: int = 40) -> Episode:
    chance = np.random.default_rng(number)
    began = 1_700_000_000 * SECOND + np.cumsum(chance.integers(1, 20 * SECOND, count))
    table = flows(
        count,
        first_ns=began,
        last_ns=began + chance.integers(0, SECOND, count),
        orig_addr=addresses([number % 200 + 1] * count),
        resp_addr=addresses(chance.integers(300, 330, count).tolist()),
        resp_payload_bytes=chance.integers(100, 90_000, count).astype(np.uint64),
    )
    return Episode(f"b{number}", f"benign:{number}", "here", table, np.zeros(count, np.int8))


def scan(number: int, count: int = 60) -> Episode:
    began = 1_700_000_000 * SECOND + np.arange(count) * SECOND // 4
    table = flows(
        count,
        first_ns=began,
        last_ns=began,
        orig_addr=addresses([number % 200 + 1] * count),
        resp_port=(np.arange(count) * 37 % 60_000).astype(np.uint16),
        conn_state=np.full(count, 6, np.uint8),
        orig_payload_bytes=np.zeros(count, np.uint64),
        resp_payload_bytes=np.zeros(count, np.uint64),
        orig_pkts=np.ones(count, np.uint64),
        resp_pkts=np.ones(count, np.uint64),
    )
    return Episode(f"s{number}", f"scan:{number}", "here", table, np.full(count, 1, np.int8))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    episodes = [benign(number) for number in range(24)] + [scan(number) for number in range(8)]
    return Corpus(tuple(episodes), "0" * 64)


def test_sequences_are_cut_by_originator_and_keep_their_stages(corpus: Corpus) -> None:
    sequences = list(cut(corpus.episodes))
    assert len(sequences) == len(corpus.episodes)
    for one in sequences:
        assert len(one.steps) == len(one.stage) == len(one.row)
        assert set(one.stage.tolist()) == ({1} if one.unit.startswith("scan") else {0})


def test_the_label_is_no_input(corpus: Corpus) -> None:
    lying = [replace(one, stage=np.full_like(one.stage, 4)) for one in corpus.episodes]
    for one, other in zip(cut(corpus.episodes), cut(lying), strict=True):
        assert np.array_equal(one.steps, other.steps)


def test_composed_sequences_hold_calm_and_attacks_of_one_originator(corpus: Corpus) -> None:
    composed = list(compose(corpus.episodes, 12, seed=4))
    stages = [set(one.stage.tolist()) for one in composed]
    assert len(composed) == 12
    assert {0, 1} in stages
    assert {0} in stages
    again = list(compose(corpus.episodes, 12, seed=4))
    assert all(np.array_equal(a.steps, b.steps) for a, b in zip(composed, again, strict=True))


def test_an_unknown_stage_is_neither_learnt_nor_counted(corpus: Corpus) -> None:
    doubtful = replace(benign(90), stage=np.full(40, UNKNOWN, np.int8))
    assert not any(learnable(one) for one in cut([doubtful]))
    net = learn(list(cut(corpus.episodes)), [], replace(QUICK, epochs=1), told).net
    assert len(judge.judged(net, [doubtful, scan(3)]).stage) == len(
        judge.judged(net, [scan(3)]).stage
    )


def test_learning_tells_scans_from_calm_of_units_it_never_saw(corpus: Corpus) -> None:
    learnt = learn(list(cut(corpus.episodes)), list(compose(corpus.episodes, 30, 1)), QUICK, told)
    outcome = judge.judged(learnt.net, [benign(77), scan(77)])
    score = outcome.score
    assert score[outcome.stage == 1].mean() > score[outcome.stage == 0].mean() + 0.3
    assert learnt.epochs <= QUICK.epochs


def test_the_same_seed_gives_the_same_network(corpus: Corpus) -> None:
    real = list(cut(corpus.episodes))
    one, other = (learn(real, [], replace(QUICK, epochs=1), told).net for _ in range(2))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])


def test_an_interrupted_run_goes_on_where_it_was(corpus: Corpus, tmp_path: Path) -> None:
    real, checkpoint, epochs = list(cut(corpus.episodes)), tmp_path / "net.pt", []

    def interrupted(label: str, share: float) -> None:
        epochs.append(label)
        if label.startswith("epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(real, [], QUICK, interrupted, checkpoint)
    assert checkpoint.exists()
    epochs.clear()
    learnt = learn(real, [], QUICK, lambda label, share: epochs.append(label), checkpoint)
    assert epochs[0].startswith("epoch 2")
    assert learnt.epochs == QUICK.epochs
    tensors = torch.load(checkpoint, weights_only=True)["kept"].values()
    assert all(torch.isfinite(value).all() for value in tensors)


def test_progress_tells_loss_and_time_left(corpus: Corpus) -> None:
    lines: list[str] = []
    learn(list(cut(corpus.episodes)), [], QUICK, lambda label, share: lines.append(label))
    assert all("loss" in line and "s left" in line for line in lines)


def test_a_short_context_answers_otherwise_than_a_long_one(corpus: Corpus) -> None:
    net = learn(list(cut(corpus.episodes)), [], replace(QUICK, epochs=1), told).net
    one = next(cut([benign(5, 100)]))
    (whole, _), (short, _) = (probabilities(net, [one], window)[0] for window in (0, 8))
    assert np.array_equal(whole[:8], short[:8])
    assert np.abs(np.log(whole[8:]) - np.log(short[8:])).max() > 1e-2
    assert len(one.steps) <= LONGEST


def test_units_share_a_fold_and_every_fold_has_some() -> None:
    units = [f"lab:{n}" for n in range(20)] + [f"tool{n}" for n in range(20)]
    folds = judge.fold_of([*units, *units])
    assert set(folds.values()) == set(range(judge.FOLDS))
    assert folds == judge.fold_of(units[::-1])


def outcome_of(score: list[float], stage: list[int], sequence: list[int]) -> judge.Outcome:
    count = len(score)
    probability = np.zeros((count, len(STAGES)), np.float32)
    probability[:, 0] = 1 - np.float32(score)
    probability[:, 1] = score
    names = np.array([f"e{number}" for number in sequence])
    fold = np.zeros(count, np.intp)
    surprise, known = np.float32(score), np.int8(stage)
    return judge.Outcome(known, probability, surprise, np.array(sequence), fold, *[names] * 3)


def test_the_threshold_lets_almost_no_calm_originator_be_suspicious() -> None:
    calm = [0.9, 0.8, 0.7, 0.1] * 5
    outcome = outcome_of(
        [*calm, 0.95, 0.95, 0.95], [0] * 20 + [1] * 3, [*np.repeat(range(5), 4), 9, 9, 9]
    )
    threshold = judge.pick_threshold(outcome)
    assert threshold == pytest.approx(0.7, abs=1e-4)
    worth = judge.worth(outcome, threshold)
    assert (worth.false_originators.hits, worth.false_originators.total) == (0, 5)
    assert worth.recall == {"reconnaissance": 1.0}
    assert worth.false_steps.hits == 10
    assert judge.mean_recall(worth) == (1.0, 1.0, 1.0)
    figures = held_out_figures(worth, "ab")
    assert figures["higher"]["recall"] == [1.0, 1.0, 1.0]
    assert figures["lower"]["false_originators"][0] == 0


def test_a_risk_rises_with_the_score_and_surprise_is_a_share() -> None:
    chance = np.random.default_rng(2)
    stage = (np.arange(400) % 4 == 0).astype(int)
    score = np.clip(chance.normal(0.2 + 0.5 * stage, 0.2), 0, 1)
    outcome = outcome_of(score.tolist(), stage.tolist(), (np.arange(400) // 10).tolist())
    risk, surprise = judge.calibrate_risk(outcome), judge.calibrate_surprise(outcome)
    for table in (risk, surprise):
        assert list(table.score) == sorted(set(table.score))
        assert list(table.probability) == sorted(table.probability)
        assert table.probability[0] >= 0
        assert table.probability[-1] <= 1
    assert risk.apply(np.float32([0.9]))[0] > risk.apply(np.float32([0.1]))[0]


def test_logs_of_zeek_become_flows_in_the_order_of_their_end(tmp_path: Path) -> None:
    place = tmp_path / "iot23" / "CTU-IoT-Malware-Capture-34-1.conn.log.labeled.xz"
    place.parent.mkdir()
    keys = "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes"
    keys += " resp_bytes conn_state local_orig local_resp missed_bytes history orig_pkts"
    keys += " orig_ip_bytes resp_pkts resp_ip_bytes tunnel_parents label detailed-label"
    first = "100.5 A 10.0.0.1 5 10.0.0.2 53 udp dns - - - S0 - - 0 D 1 60 0 0 - Benign -"
    other = "101.0 B 10.0.0.1 5 fe80::2 80 tcp - 2.5 10 20 SF - - 0 S 4 60 5 9 - Malicious C&C"
    text = "#fields\t" + "\n".join(line.replace(" ", "\t") for line in (keys, first, other))
    with lzma.open(place, "wt") as file:
        file.write(text)
    ((name, origin, columns, stage),) = read_logs(tmp_path)
    assert (name, origin) == ("mirai-34", "iot23")
    assert stage.tolist() == [3, 0]  # the closed one ends first
    assert columns["first_ns"].tolist() == [101 * SECOND, 100_500_000_000]
    assert columns["last_ns"][0] - columns["first_ns"][0] == 2_500_000_000
    assert columns["resp_port"].tolist() == [80, 53]
    assert columns["resp_payload_bytes"].tolist() == [20, 0]


def test_states_of_logs_are_those_of_the_core() -> None:
    from fortress_core import CONN_STATES

    assert tuple(threat_lstm_logs._STATES) == CONN_STATES


def test_the_demonstration_is_labelled_and_is_not_learnt_from(samples: Path) -> None:
    episode = demonstration(samples)
    assert episode is not None
    assert {1, 2, 3, 6} <= set(episode.stage.tolist())
    assert (episode.stage == 0).sum() > 500


def test_one_campaign_in_ten_is_kept_from_learning() -> None:
    names = [f"campaign_{number:03}" for number in range(1, 31)] + ["port_scan"]
    reserved = [name for name in names if is_reserved(replace(benign(1), name=name))]
    assert reserved == ["campaign_007", "campaign_017", "campaign_027"]


def test_a_file_that_is_no_finished_training_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "finished.npz"
    broken.write_text(json.dumps({}))
    with pytest.raises(InputError, match="no finished training"):
        export_threat_lstm(broken, tmp_path)
    with pytest.raises(InputError, match=r"missing\.npz"):
        export_threat_lstm(tmp_path / "missing.npz", tmp_path)
