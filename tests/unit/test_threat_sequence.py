"""The sequence model at work: carried state, whole windows, order, context, bounds."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="FORTRESS_TORCH_INDEX=… ./dev test installs it")

import torch

from fortress.features.sequence import COLUMNS, FEATURES, fingerprint
from fortress.inference import ModelRejected
from fortress.inference.registry import read_draft
from fortress.inference.session import open_session
from fortress.inference.threat_sequence import ThreatSequence
from fortress.training.export import publish
from fortress.training.threat_lstm_data import STAGES
from fortress.training.threat_lstm_export import MAX_DIFFERENCE, difference, to_graphs
from fortress.training.threat_lstm_net import HIDDEN, ThreatNet
from tests.unit.test_features_sequence import addresses, flows, many

WIDTH = len(FEATURES)


@pytest.fixture(scope="module")
def net() -> ThreatNet:
    torch.manual_seed(3)
    net = ThreatNet()
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(2)  # an untrained network says much the same of everything
    return net.eval()


@pytest.fixture(scope="module")
def graphs(net: ThreatNet):
    return to_graphs(net)


@pytest.fixture(scope="module")
def folder(graphs, tmp_path_factory) -> Path:
    names = [feature.name for feature in FEATURES]
    place = tmp_path_factory.mktemp("models") / "threat-lstm"
    line = {"score": [0.0, 1.0], "probability": [0.0, 1.0]}
    recipe = {
        "version": "0.0.1",
        "kind": "sequence",
        "input": {
            "features": names,
            "fingerprint": fingerprint(names),
            "columns": list(COLUMNS),
            "steps": 64,
        },
        "output": {"classes": list(STAGES)},
        "threshold": {"risk": 0.8},
        "calibration": {"risk": line, "surprise": line},
    }
    publish(place, graphs.window, recipe, "# a card\n", "threat-lstm.onnx", graphs.variants())
    return place


@pytest.fixture
def model(folder: Path) -> ThreatSequence:
    return ThreatSequence.from_entry(read_draft(folder))


def test_graphs_agree_with_torch_over_batches_and_lengths(net, graphs) -> None:
    assert difference(net, graphs.window) <= MAX_DIFFERENCE
    assert difference(net, graphs.carried) <= MAX_DIFFERENCE


def test_a_window_says_what_its_steps_say_one_after_another(graphs) -> None:
    steps = np.random.default_rng(1).uniform(-1, 1, (5, 64, WIDTH)).astype(np.float32)
    window = open_session(graphs.window, Path("window")).run(None, {"sequence": steps})
    cell = open_session(graphs.carried, Path("carried"))
    h = c = np.zeros((5, HIDDEN), np.float32)
    for number in range(64):
        feed = {"sequence": steps[:, number : number + 1], "h0": h, "c0": c}
        stage, surprise, h, c = cell.run(None, feed)
    assert np.abs(stage[:, 0] - window[0]).max() <= MAX_DIFFERENCE
    assert np.abs(surprise[:, 0] - window[1]).max() <= MAX_DIFFERENCE


def test_order_and_context_matter(graphs) -> None:
    session = open_session(graphs.window, Path("window"))
    steps = np.random.default_rng(1).uniform(-1, 1, (9, 40, WIDTH)).astype(np.float32)
    whole = session.run(["stage"], {"sequence": steps})[0]
    turned = np.concatenate([steps[:, :-1][:, ::-1], steps[:, -1:]], axis=1)
    short = session.run(["stage"], {"sequence": steps[:, -2:]})[0]
    assert np.abs(whole - session.run(["stage"], {"sequence": turned})[0]).max() > 1e-3
    assert np.abs(whole - short).max() > 1e-3


@pytest.mark.parametrize("size", [1, 13, 400])
def test_what_a_flow_is_judged_to_be_does_not_depend_on_ticks(folder, size: int) -> None:
    table = many(1500)
    whole = ThreatSequence(read_draft(folder)).observe(1, table)
    model, parts = ThreatSequence(read_draft(folder)), []
    for start in range(0, 1500, size):
        piece = {name: column[start : start + size] for name, column in table.items()}
        parts.append(model.observe(start + 1, piece))
    for name in ("originator", "stage", "risk", "surprise"):
        assert np.array_equal(
            np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name)
        )
    assert len(set(whole.stage.tolist())) > 1


def test_what_is_computed_in_padded_chunks_is_the_same(folder) -> None:
    table = many(700)
    plain, padded = ThreatSequence(read_draft(folder)), ThreatSequence(read_draft(folder))
    padded._cell._padded = True
    one, other = plain.observe(1, table), padded.observe(1, table)
    assert np.allclose(one.risk, other.risk, atol=1e-6)
    assert np.array_equal(one.stage, other.stage)


def test_neighbours_do_not_change_what_an_originator_is_judged_to_be(folder) -> None:
    table = many(1500)
    alone = table["orig_addr"] == addresses([3])[0]
    own = {name: column[alone] for name, column in table.items()}
    told = ThreatSequence(read_draft(folder)).observe(1, table)
    rows = told.originator == addresses([3])[0]
    assert np.array_equal(told.risk[rows], ThreatSequence(read_draft(folder)).observe(1, own).risk)


def test_risk_and_surprise_are_probabilities_and_calm_steps_have_no_stage(model) -> None:
    told = model.observe(1, many(800))
    assert len(told) == len(told.risk) == len(told.row)
    for values in (told.risk, told.surprise):
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1
    assert (told.stage[told.risk < model.threshold] == "none").all()
    assert (told.stage[told.risk >= model.threshold] != "none").all()


def test_a_newcomer_in_a_used_place_begins_at_rest(folder) -> None:
    model = ThreatSequence(read_draft(folder), capacity=2)
    first = flows(5, orig_addr=addresses([9] * 5))
    fresh = ThreatSequence(read_draft(folder), capacity=2).observe(1, first)
    for number in range(20):
        model.observe(number + 1, flows(5, orig_addr=addresses([number + 30] * 5)))
    assert np.array_equal(model.observe(99, first).risk, fresh.risk)


def test_a_cleared_model_has_forgotten(folder) -> None:
    model, table = ThreatSequence(read_draft(folder)), many(300)
    once = model.observe(1, table)
    again = model.observe(2, table)
    assert not np.array_equal(once.risk, again.risk)
    model.clear()
    assert np.array_equal(model.observe(1, table).risk, once.risk)


def test_memory_is_bounded(model) -> None:
    assert model.memory_bytes < 4_000_000


def test_an_empty_tick_says_nothing(model) -> None:
    assert len(model.observe(1, flows(0))) == 0


def test_a_changed_variant_is_refused(folder, tmp_path) -> None:
    place = tmp_path / "threat-lstm"
    shutil.copytree(folder, place)
    graph = place / "variants" / "carried.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelRejected, match="sha256"):
        ThreatSequence(read_draft(place))


def test_a_variant_of_another_shape_is_refused(folder, graphs, tmp_path) -> None:
    place = tmp_path / "threat-lstm"
    shutil.copytree(folder, place)
    (place / "variants" / "carried.onnx").write_bytes(graphs.window)
    recipe = place / "model.toml"
    digests = [hashlib.sha256(graph).hexdigest() for graph in (graphs.carried, graphs.window)]
    text = recipe.read_text().replace(*digests)
    recipe.write_text(text)
    with pytest.raises(ModelRejected, match="inputs are"):
        ThreatSequence(read_draft(place))
