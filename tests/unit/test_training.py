"""Training: flows labelled with care, splits that part nothing, exports of what was fitted."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fortress.errors import InputError, ModelError, UsageError
from fortress.features import flow
from fortress.inference import Calibration, ModelEntry, ModelRejected, Recipe, Registry
from fortress.inference.registry import read_draft
from fortress.inference.session import Session
from fortress.training import MODELS, train
from fortress.training import evaluate as ev
from fortress.training.candidates import CANDIDATES, CHOSEN
from fortress.training.dataset import FlowSet, load_demonstration, load_flows
from fortress.training.export import OPSETS, parity, publish, to_graph, to_toml
from fortress.training.truth import TRUTHS, UDP, Fate, Match, Truth, fates, within
from tests.need import ROOT, SHARED, need

WIDTH = len(flow.FEATURES)
NAMES = tuple(feature.name for feature in flow.FEATURES)


def some_flows(rows: int = 600, seed: int = 7) -> FlowSet:
    """Two clouds of flows, 12 groups of 50, every second group an attack."""
    rng = np.random.default_rng(seed)
    number = np.arange(rows) // 50
    attack = number % 2 == 1
    matrix = rng.normal(0, 1, (rows, WIDTH)) + 2.5 * attack[:, None] * (np.arange(WIDTH) % 3 == 0)
    group = np.array([f"group{n}" for n in number])
    return FlowSet(
        matrix=matrix.astype(np.float32),
        judged=np.ones(rows, np.bool_),
        fate=attack.astype(np.int8),
        kind=np.where(attack, "scan", "benign"),
        capture=group,
        group=group,
        origin=np.where(number < 6, "here", "there"),
        columns={},
        digest="",
        damages=(),
    )


def address(text: str) -> np.void:
    import ipaddress

    packed = ipaddress.ip_address(text).packed
    return np.void(packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed)


def recipe(calibration: Calibration | None = None) -> Recipe:
    calibration = calibration or Calibration((0.0, 1.0), (0.0, 1.0))
    mark = flow.fingerprint(NAMES)
    classes = ("benign", "attack")
    return Recipe(
        name="m",
        version="1",
        kind="flow",
        file="m.onnx",
        sha256="",
        size_bytes=0,
        opset=OPSETS[""],
        features=NAMES,
        fingerprint=mark,
        columns=flow.COLUMNS,
        steps=0,
        classes=classes,
        thresholds={"risk": 0.5},
        calibrations={"risk": calibration},
    )


def table_of(made: Recipe) -> dict[str, object]:
    return {
        "version": made.version,
        "kind": made.kind,
        "input": {
            "features": list(made.features),
            "fingerprint": made.fingerprint,
            "columns": list(made.columns),
            "steps": made.steps,
        },
        "output": {"classes": list(made.classes)},
        "threshold": dict(made.thresholds),
        "calibration": {
            "risk": {
                "score": list(made.calibrations["risk"].score),
                "probability": list(made.calibrations["risk"].probability),
            },
        },
    }


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_kind_of_model_converts_and_the_graph_says_the_same(name: str) -> None:
    flows = some_flows()
    model = ev.fit(CANDIDATES[name], flows, np.ones(len(flows), np.bool_))
    session = Session(ModelEntry(recipe(), Path(), to_graph(model, WIDTH)))
    assert parity(model, session, flows.matrix) <= 1e-5
    one = session.run(flows.matrix[:1])
    assert np.array_equal(one, session.run(flows.matrix)[:1])


def test_a_graph_of_another_model_does_not_pass_for_this_one() -> None:
    flows = some_flows()
    every = np.ones(len(flows), np.bool_)
    other = ev.fit(CANDIDATES[CHOSEN], replace(flows, fate=(1 - flows.fate).astype(np.int8)), every)
    session = Session(ModelEntry(recipe(), Path(), to_graph(other, WIDTH)))
    with pytest.raises(ModelError, match="differs from scikit-learn"):
        parity(ev.fit(CANDIDATES[CHOSEN], flows, every), session, flows.matrix)


def test_training_twice_gives_the_same_bytes() -> None:
    flows = some_flows()
    every = np.ones(len(flows), np.bool_)
    first, second = (to_graph(ev.fit(CANDIDATES[CHOSEN], flows, every), WIDTH) for _ in range(2))
    assert first == second


def test_what_is_exported_is_what_the_registry_takes(tmp_path: Path) -> None:
    flows = some_flows()
    model = ev.fit(CANDIDATES[CHOSEN], flows, np.ones(len(flows), np.bool_))
    onnx = to_graph(model, WIDTH)
    publish(tmp_path / "m", onnx, table_of(recipe()), "# m\n", "m.onnx")
    entry = read_draft(tmp_path / "m")
    assert entry.onnx == onnx
    assert entry.recipe.features == NAMES
    assert Registry(tmp_path).card("m") == "# m\n"


def test_what_the_registry_refuses_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(ModelRejected):
        publish(tmp_path / "m", b"no model", table_of(recipe()), "", "m.onnx")
    assert not (tmp_path / "m" / "model.toml").exists()


def test_toml_that_is_written_reads_back(tmp_path: Path) -> None:
    import tomllib

    table = {
        "a": 1, "text": 'quote " and \\ and ü', "yes": True, "x": 1e-9, "list": ["a" * 60] * 2,
        "sub": {"empty": [], "deep": {"scikit-learn": "1.9"}},
    }  # fmt: skip
    assert tomllib.loads(to_toml(table)) == table
    with pytest.raises(TypeError, match="NoneType"):
        to_toml({"nothing": None})


def test_folds_never_part_a_group() -> None:
    flows = some_flows()
    fold = ev.folds_by(flows.group)
    assert set(fold.tolist()) == set(range(ev.FOLDS))
    for group in np.unique(flows.group):
        assert len(np.unique(fold[flows.group == group])) == 1


def test_a_flow_is_never_scored_by_a_model_that_saw_its_group() -> None:
    flows = some_flows()
    seen: list[np.ndarray] = []

    class Memory:
        def fit(self, rows: np.ndarray, _: np.ndarray, **__: object) -> "Memory":
            seen.append(rows)
            return self

        def predict_proba(self, rows: np.ndarray) -> np.ndarray:
            known = {row.tobytes() for row in seen[-1]}
            assert not any(row.tobytes() in known for row in rows)
            return np.full((len(rows), 2), 0.5)

    scores = ev.out_of_fold(Memory, flows, ev.folds_by(flows.group))
    assert len(seen) == ev.FOLDS
    assert (scores == 0.5).all()


def test_one_capture_gives_at_most_its_share_to_learn_from() -> None:
    flows = some_flows(rows=1200)
    flows = replace(flows, capture=np.where(flows.fate == 1, "flood", flows.capture))
    rows = ev.train_rows(flows, np.ones(len(flows), np.bool_))
    assert (flows.capture[rows] == "flood").sum() == ev.MAX_TRAIN_PER_CAPTURE
    assert len(set(rows.tolist())) == len(rows)


def test_what_lies_in_the_content_or_is_not_judged_is_never_learnt_from() -> None:
    flows = some_flows()
    fate, judged = flows.fate.copy(), flows.judged.copy()
    fate[:50], judged[50:100] = Fate.CONTENT, False
    rows = ev.train_rows(replace(flows, fate=fate, judged=judged), np.ones(600, np.bool_))
    assert rows.min() == 100


def test_the_threshold_lets_no_more_benign_flows_through_than_the_target() -> None:
    flows = some_flows()
    scores = np.linspace(0, 0.9, len(flows))
    threshold = ev.pick_threshold(flows, scores)
    benign = flows.fate == Fate.BENIGN
    assert not (scores[benign] >= threshold).any()
    assert threshold <= np.nextafter(np.float32(scores[benign].max()), np.float32(2))


def test_calibrated_risk_rises_with_the_score_and_knows_the_prior() -> None:
    flows = some_flows()
    rng = np.random.default_rng(3)
    scores = np.clip(0.3 * flows.fate + rng.uniform(0, 0.7, len(flows)), 0, 1)
    table = ev.calibrate(flows, scores)
    assert (np.diff(table.score) > 0).all()
    assert (np.diff(table.probability) >= 0).all()
    assert table.probability[-1] < 1
    benign = table.apply(scores[flows.fate == 0].astype(np.float32)).mean()
    attack = table.apply(scores[flows.fate == 1].astype(np.float32)).mean()
    mean = (1 - ev.PRIOR) * benign + ev.PRIOR * attack
    assert mean == pytest.approx(ev.PRIOR, rel=0.3)


def test_intervals_are_those_of_the_textbook() -> None:
    low, high = ev.Rate(0, 10_000).interval
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 10_000))  # Clopper and Pearson 1934, k = 0
    assert ev.Rate(0, 0).interval == (0.0, 1.0)


def test_rules_speak_of_both_directions_and_only_of_theirs() -> None:
    flows = {
        "orig_addr": np.array([address("10.0.0.1"), address("10.0.0.2"), address("10.0.0.1")]),
        "resp_addr": np.array([address("10.0.0.2"), address("10.0.0.1"), address("10.9.0.1")]),
        "proto": np.array([17, 17, 17], np.uint8),
        "resp_port": np.array([53, 53, 53], np.uint16),
    }
    rule = Match("10.0.0.1", "10.0.0.0/24", UDP, (53,))
    truth = Truth("scan", "tool", (rule,), "", rest=Fate.BENIGN)
    assert fates(truth, flows).tolist() == [Fate.ATTACK, Fate.ATTACK, Fate.BENIGN]
    assert within(flows["resp_addr"], "10.9.0.0/16").tolist() == [False, False, True]
    assert within(np.array([address("2001:db8::1")]), "2001:db8::/32").tolist() == [True]


def test_missing_data_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.tsv") as caught:
        train("flow-classifier", data=tmp_path / "nowhere", out=tmp_path)
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert "--data" in str(caught.value)


def test_missing_lab_captures_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.json"):
        train("flow-classifier", data=tmp_path, out=tmp_path, samples=tmp_path)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("file_in_tar\n")
    (tmp_path / "attack.tar.xz").write_bytes(b"not an archive")
    with pytest.raises(InputError, match=r"attack\.tar\.xz"):
        train("flow-classifier", data=tmp_path, out=tmp_path)


def test_an_archive_that_writes_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("file_in_tar\n")
    with tarfile.open(tmp_path / "attack.tar.xz", "w:xz") as tar:
        tar.add(__file__, arcname="../outside.txt")
    with pytest.raises(InputError, match="leads out"):
        train("flow-classifier", data=tmp_path, out=tmp_path)


def test_an_unknown_model_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=MODELS[0]):
        train("no-such-model", data=tmp_path, out=tmp_path)


def test_the_capture_of_the_demonstration_is_never_learnt_from() -> None:
    shown = load_demonstration(ROOT / "samples")
    assert shown is not None
    assert {"attack_day"} == set(shown.capture.tolist())
    attacks = set(shown.kind[shown.fate == Fate.ATTACK].tolist())
    assert {"guess", "scan"} <= attacks <= {"guess", "scan", "flood"}  # no beacon, no ARP


@pytest.fixture(scope="module")
def shared_flows() -> FlowSet:
    """Every labelled flow of the shared captures."""
    need("shared")
    steps: list[tuple[str, float]] = []
    flows = load_flows(SHARED, None, lambda step, share: steps.append((step, share)), recorded=None)
    assert steps[0] == ("unpack captures", 0.0)
    assert all(0 <= share <= 1 for _, share in steps)
    return flows


def test_every_shared_attack_capture_has_its_truth(shared_flows: FlowSet) -> None:
    flows = shared_flows
    assert len(np.unique(flows.capture)) > 500
    attacks = {name[:8] for name in flows.capture[flows.fate == Fate.ATTACK].tolist()}
    assert attacks <= set(TRUTHS)
    expected = {key for key, truth in TRUTHS.items() if truth.attack and truth.fate == Fate.ATTACK}
    assert expected <= attacks
    assert set(flows.kind[flows.fate == Fate.BENIGN].tolist()) == {"benign"}


def test_the_shipped_model_keeps_to_its_target_on_shared_flows(shared_flows: FlowSet) -> None:
    flows = shared_flows
    entry = Registry(ROOT / "models").load("flow-classifier")
    risk = entry.calibration().apply(1 - Session(entry).run(flows.matrix)[:, 0])
    found = flows.judged & (risk >= entry.threshold())
    benign = flows.fate == Fate.BENIGN
    assert found[benign].sum() <= 1e-3 * benign.sum()
    attack = flows.judged & (flows.fate == Fate.ATTACK)
    assert found[attack].mean() > 0.5


def test_sequence_models_can_be_made_here() -> None:
    need("torch")
