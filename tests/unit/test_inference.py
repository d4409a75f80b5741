"""Models at work: what the registry takes and refuses, and what the flow classifier says."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fortress.errors import ModelError
from fortress.features import flow
from fortress.features.collect import collect_flows
from fortress.inference import FlowClassifier, ModelRejected, Registry
from fortress.inference.onnx_file import MalformedModel, read_content
from fortress.inference.registry import read_draft
from tests.need import ROOT
from tests.unit.test_features_flow import random_flows

NAME = "flow-classifier"
Rewrite = Callable[[str], str]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A registry with a copy of the shipped flow classifier, to be spoilt as a draft."""
    shutil.copytree(ROOT / "models" / NAME, tmp_path / NAME)
    return Registry(tmp_path)


@pytest.fixture(scope="module")
def classifier() -> FlowClassifier:
    return FlowClassifier(Registry(ROOT / "models").load(NAME))


@pytest.fixture(scope="module")
def guesses() -> dict[str, np.ndarray]:
    """Every flow of the lab's SSH guessing."""
    capture = ROOT / "samples" / "password_guess_ssh.pcap.zst"
    return collect_flows([capture], (*flow.COLUMNS, "resp_port")).columns


def rewrite_recipe(registry: Registry, change: Rewrite) -> None:
    path = registry.root / NAME / "model.toml"
    # without the references, whose keys are names of features too
    text = re.sub(r"(?ms)^\[reference.*?(?=^\[(?!reference)|\Z)", "", path.read_text())
    changed = change(text)
    assert changed != text
    path.write_text(changed)


def put_model(registry: Registry, model: bytes) -> None:
    """Put other bytes in the model's place, with the right sha256 in the recipe."""
    import hashlib

    recipe = registry.root / NAME / "model.toml"
    old = hashlib.sha256((registry.root / NAME / f"{NAME}.onnx").read_bytes()).hexdigest()
    (registry.root / NAME / f"{NAME}.onnx").write_bytes(model)
    text = recipe.read_text().replace(old, hashlib.sha256(model).hexdigest())
    recipe.write_text(re.sub(r"\nbytes = \d+", f"\nbytes = {len(model)}", text))


def graph(
    operator: str = "Softmax",
    domain: str = "",
    width: int = len(flow.FEATURES),
    initializers: tuple[TensorProto, ...] = (),
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one operator from float32 rows to two numbers a row."""
    node = helper.make_node(operator, ["x"], ["y"], domain=domain, **attributes)
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    opsets = [helper.make_opsetid("", 17)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    made = helper.make_graph([node], "g", [rows], [out], list(initializers))
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def refusal(registry: Registry) -> ModelRejected:
    with pytest.raises(ModelRejected) as caught:
        FlowClassifier(read_draft(registry.root / NAME))
    return caught.value


def test_the_shipped_models_are_all_taken() -> None:
    listings = Registry().list()
    assert NAME in {listing.name for listing in listings}
    assert [listing.problem for listing in listings] == [""] * len(listings)


def test_the_card_says_what_the_model_cannot_do() -> None:
    card = Registry(ROOT / "models").card(NAME)
    assert "## What it cannot do" in card
    assert "95 %" in card


def test_importing_the_room_does_not_import_the_runtime() -> None:
    program = "import sys, fortress.inference; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60).returncode == 0


def test_an_unknown_name_is_refused_and_known_ones_are_named(registry: Registry) -> None:
    with pytest.raises(ModelRejected, match=NAME) as caught:
        registry.load("flow-clasifier")
    assert caught.value.reason == "missing"
    with pytest.raises(ModelRejected, match="no such model"):
        registry.card("../flow-classifier")
    with pytest.raises(ModelRejected, match="no name"):
        registry.load("../flow-classifier")


def test_an_empty_registry_has_the_models_that_ship(tmp_path: Path) -> None:
    assert Registry(tmp_path / "nowhere").list() == Registry().list()
    assert Registry(tmp_path / "nowhere", shipped=tmp_path).list() == ()


def test_a_changed_byte_of_the_graph_is_refused(registry: Registry) -> None:
    path = registry.root / NAME / f"{NAME}.onnx"
    model = bytearray(path.read_bytes())
    model[len(model) // 2] ^= 1
    path.write_bytes(model)
    assert refusal(registry).reason == "sha256"
    assert str(path) in str(refusal(registry))
    listing = next(one for one in registry.list() if one.name == NAME)
    assert "is not the model that ships" in listing.problem
    assert listing.version


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (lambda text: text.replace('"tcp"', '"tpc"'), "features", "unknown tpc, lacks tcp"),
        (lambda text: text.replace('    "udp",\n', ""), "features", "lacks udp"),
        (
            lambda text: text.replace('    "tcp",\n    "udp",', '    "udp",\n    "tcp",'),
            "features",
            "order",
        ),
        (lambda text: text.replace('fingerprint = "', 'fingerprint = "0'), "fingerprint", "anew"),
        (
            lambda text: text.replace('"iat_std_ns"', '"iat_deviation_ns"'),
            "features",
            "input.columns are not this program's: iat_deviation_ns, iat_std_ns",
        ),
        (lambda text: text.replace("format = 2", "format = 1"), "recipe", "format is 1"),
        (lambda text: text.replace(f'name = "{NAME}"', 'name = "other"'), "recipe", "other"),
        (lambda text: text.replace(f'"{NAME}.onnx"', '"../secret.onnx"'), "recipe", "file is"),
        (lambda text: text.replace("ld]\nrisk", "ld]\nrsk"), "recipe", "threshold.risk is missing"),
        (lambda text: text.replace("risk = 0.", "risk = 7."), "recipe", "between 0 and 1"),
        (lambda text: text.replace('classes = ["benign"', 'classes = ["calm"'), "recipe", "benign"),
        (lambda text: text.replace("score = [\n    0.0,", "score = [\n    nan,"), "recipe", "nan"),
        (lambda text: text.replace("score = [\n    0.0,", "score = [\n    2.0,"), "recipe", "rise"),
        (
            lambda text: text.replace("[calibration.risk]", "[calibration.risk]\nprior = 1"),
            "recipe",
            "calibration.risk.prior is no key",
        ),
        (lambda text: text.replace('kind = "flow"', 'kind = "domain"'), "recipe", "kind is"),
        (lambda text: text.replace('kind = "flow"', 'kind = "sequence"'), "recipe", "input.steps"),
        (lambda text: text.replace("opset = 17", "opset = 16"), "opset", "recipe says 16"),
        (lambda text: text.replace("\nbytes = ", "\nbytes = 9"), "size", "recipe says 9"),
        (lambda text: text.replace("\nsteps = 0", ""), "recipe", "input.steps is missing"),
        (lambda text: text.replace('version = "', 'version = "../'), "recipe", "version is"),
        (
            lambda text: text + "[reference.inputs.nothing]\nedges = [1]\nshares = [1, 0]\n",
            "recipe",
            "reference.inputs.nothing is no feature",
        ),
        (
            lambda text: text + "[reference.scores]\nedges = [1]\nshares = [1]\n",
            "recipe",
            "reference.scores.shares",
        ),
        (
            lambda text: text + "[variants.int8]\nfile = '../x.onnx'\nsha256 = ''\n",
            "recipe",
            "variants.int8.file",
        ),
        (lambda text: text + "\n[", "recipe", "TOML"),
    ],
)  # fmt: skip
def test_a_recipe_that_does_not_fit_is_refused_with_its_reason(
    registry: Registry, change: Rewrite, reason: str, words: str
) -> None:
    rewrite_recipe(registry, change)
    rejected = refusal(registry)
    assert rejected.reason == reason
    assert words in str(rejected)
    assert isinstance(rejected, ModelError)


def test_a_recipe_that_is_not_text_is_refused(registry: Registry) -> None:
    (registry.root / NAME / "model.toml").write_bytes(b"\xff\xfe\x00")
    assert refusal(registry).reason == "recipe"


def test_a_missing_graph_is_refused(registry: Registry) -> None:
    (registry.root / NAME / f"{NAME}.onnx").unlink()
    assert refusal(registry).reason == "missing"


def test_a_graph_beyond_the_size_cap_is_refused_unread(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fortress.inference.registry.MAX_FILE_BYTES", 1000)
    assert refusal(registry).reason == "size"


@pytest.mark.parametrize(
    "bytes_", [b"", b"\x00", b"not a model", b"\x08" * 40, b"\x3a\xff\xff\x03"]
)
def test_bytes_that_are_no_model_are_refused(registry: Registry, bytes_: bytes) -> None:
    put_model(registry, bytes_)
    assert refusal(registry).reason == "malformed"


def test_weights_in_another_file_are_refused(registry: Registry) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    put_model(registry, graph(initializers=(tensor,)).SerializeToString())
    assert refusal(registry).reason == "external"


def test_weights_in_another_file_are_refused_inside_an_attribute(registry: Registry) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.external_data.add(key="location", value="weights.bin")
    put_model(registry, graph(value=tensor).SerializeToString())
    assert refusal(registry).reason == "external"


def test_a_changed_model_that_nobody_signed_is_never_used(registry: Registry) -> None:
    assert registry.load(NAME).publisher == "shipped"
    rewrite_recipe(registry, lambda text: re.sub(r"\nrisk = 0\.\d+", "\nrisk = 0.1", text))
    assert read_draft(registry.root / NAME).threshold() < 0.2, "nothing else is wrong with it"
    with pytest.raises(ModelRejected) as caught:
        registry.load(NAME)
    assert caught.value.reason == "pin"


def test_an_operator_of_somebody_else_is_refused(registry: Registry) -> None:
    put_model(registry, graph("Anything", domain="com.example").SerializeToString())
    assert refusal(registry).reason == "opset"


@pytest.mark.parametrize("operator", ["NonZero", "StringNormalizer", "RandomNormalLike"])
def test_an_operator_that_is_not_on_the_list_is_refused(registry: Registry, operator: str) -> None:
    put_model(registry, graph(operator).SerializeToString())
    assert refusal(registry).reason == "operator"
    assert operator in str(refusal(registry))


def test_a_nested_graph_is_refused(registry: Registry) -> None:
    inner = graph().graph
    put_model(registry, graph("If", then_branch=inner, else_branch=inner).SerializeToString())
    assert refusal(registry).reason == "operator"


def test_a_local_function_is_refused(registry: Registry) -> None:
    model = graph()
    node = helper.make_node("Softmax", ["a"], ["b"])
    body = helper.make_function("own", "F", ["a"], ["b"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(body)
    put_model(registry, model.SerializeToString())
    assert refusal(registry).reason == "operator"


def test_an_opset_newer_than_known_is_refused(registry: Registry) -> None:
    model = graph()
    model.opset_import[0].version = 99
    put_model(registry, model.SerializeToString())
    assert refusal(registry).reason == "opset"


def test_another_width_is_refused(registry: Registry) -> None:
    put_model(registry, graph(width=3).SerializeToString())
    assert refusal(registry).reason == "shape"


def test_what_the_runtime_cannot_load_is_refused(registry: Registry) -> None:
    put_model(registry, graph(no_such_attribute=1).SerializeToString())
    assert refusal(registry).reason == "runtime"


def test_the_reader_survives_any_damage_to_a_real_model(rng: np.random.Generator) -> None:
    model = (ROOT / "models" / NAME / f"{NAME}.onnx").read_bytes()[:4000]
    for _ in range(300):
        damaged = bytearray(model[: rng.integers(1, len(model))])
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        try:
            read_content(bytes(damaged))
        except MalformedModel:
            continue


def test_the_same_flow_has_the_same_risk_in_every_batch(
    classifier: FlowClassifier, rng: np.random.Generator
) -> None:
    flows = random_flows(700, rng)
    for name in ("orig_data_pkts", "resp_data_pkts", "orig_pkts", "resp_pkts"):
        flows[name] = np.maximum(flows[name] % 50, 2)
    flows["midstream"][:] = 0
    whole = classifier.classify(flows)
    assert whole.judged.all()
    for size in (1, 63, 64, 65, 700):
        parts = [
            classifier.classify({name: column[at : at + size] for name, column in flows.items()})
            for at in range(0, 700 if size > 1 else 40, size)
        ]
        risk = np.concatenate([part.risk for part in parts])
        assert np.array_equal(risk, whole.risk[: len(risk)])


def test_any_bytes_in_the_columns_give_a_risk_between_0_and_1(
    classifier: FlowClassifier, rng: np.random.Generator
) -> None:
    said = classifier.classify(random_flows(2000, rng))
    assert ((said.risk >= 0) & (said.risk <= 1)).all()
    assert np.allclose(said.probability.sum(axis=1), 1, atol=1e-5)
    assert set(said.labels.tolist()) <= set(classifier.classes)


def test_no_flows_give_an_empty_opinion(
    classifier: FlowClassifier, rng: np.random.Generator
) -> None:
    said = classifier.classify(random_flows(0, rng))
    assert said.labels.shape == said.risk.shape == said.judged.shape == (0,)
    assert said.probability.shape == (0, len(classifier.classes))


def test_a_flow_that_is_no_conversation_has_no_risk(
    classifier: FlowClassifier, guesses: dict[str, np.ndarray]
) -> None:
    silent = {name: column.copy() for name, column in guesses.items()}
    silent["resp_data_pkts"][:] = 0
    said = classifier.classify(silent)
    assert not said.judged.any()
    assert set(said.risk.tolist()) == {0.0}
    assert set(said.labels.tolist()) == {"benign"}


def test_a_label_is_a_kind_of_attack_exactly_from_the_threshold_on(
    classifier: FlowClassifier, guesses: dict[str, np.ndarray]
) -> None:
    said = classifier.classify(guesses)
    assert ((said.labels != "benign") == (said.risk >= classifier.threshold)).all()


def test_a_known_attack_is_called_one_and_browsing_is_not(
    classifier: FlowClassifier, guesses: dict[str, np.ndarray]
) -> None:
    said = classifier.classify(guesses)
    logins = (guesses["resp_port"] == 22) & said.judged
    assert logins.sum() >= 10
    assert (said.labels[logins] == "password guessing").mean() > 0.5
    browsing = collect_flows([ROOT / "samples" / "benign_browse.pcap.zst"], flow.COLUMNS).columns
    calm = classifier.classify(browsing)
    assert calm.judged.sum() > 10
    assert set(calm.labels.tolist()) == {"benign"}


def test_a_matrix_of_another_shape_is_an_error(classifier: FlowClassifier) -> None:
    with pytest.raises(ValueError, match="float32"):
        classifier._gate.run(np.zeros((3, 2), np.float32))
