"""Another graph of the same model, asked for by a setting: run whole, or refused with a reason."""

from pathlib import Path

import numpy as np
import pytest

from fortress.cli import main
from fortress.features import flow
from fortress.inference import FlowClassifier, ModelRejected, Registry
from fortress.inference.statement import Digest
from tests.registry.graphs import network
from tests.registry.world import KEY, NAME, WIDTH, draft


def with_variants(folder: Path, *names: str) -> Registry:
    """A registry whose flow classifier 1.0.1 has these variants beside `kinds`."""
    table, graphs = {}, {name: network(WIDTH, 2, hidden=4, seed=9) for name in names}
    graphs["kinds"] = network(WIDTH, 2, hidden=4)
    for name, onnx in graphs.items():
        table[name] = {"file": f"variants/{name}.onnx", "sha256": Digest.of(onnx).sha256}
    made = draft(folder / "draft" / NAME, "1.0.1", variants=table)
    for name, onnx in graphs.items():
        (made / "variants" / f"{name}.onnx").write_bytes(onnx)
    registry = Registry(folder / "registry", folder / "state", [KEY.public])
    registry.add(made, KEY)
    return Registry(registry.root, registry.state, [KEY.public], variants={NAME: "int8"})


def risks(entry: object) -> np.ndarray:
    flows = {name: np.arange(1, 9) for name in flow.COLUMNS} | {"midstream": np.zeros(8)}
    return FlowClassifier(entry).classify(flows).risk  # type: ignore[arg-type]


def test_the_variant_that_is_asked_for_is_run(tmp_path: Path) -> None:
    registry = with_variants(tmp_path, "int8", "kinds-int8")
    entry = registry.load(NAME, "1.0.1")
    plain = Registry(registry.root, registry.state, [KEY.public]).load(NAME, "1.0.1")
    assert entry.variant == "int8"
    assert entry.onnx == plain.graph("int8") != plain.onnx
    assert entry.graph("kinds") == plain.graph("kinds-int8")
    assert not np.array_equal(risks(entry), risks(plain))


@pytest.mark.parametrize(
    ("variants", "lacking"), [((), "int8, kinds-int8"), (("int8",), "kinds-int8")]
)
def test_a_version_without_the_variant_is_refused(
    tmp_path: Path, variants: tuple[str, ...], lacking: str
) -> None:
    registry = with_variants(tmp_path, *variants)
    with pytest.raises(ModelRejected, match=f"no graph {lacking} ") as refused:
        registry.load(NAME, "1.0.1")
    assert refused.value.reason == "variant"


@pytest.mark.parametrize("name", ["flow-classifier", "host-anomaly"])
def test_a_variant_that_a_model_has_not_is_told_with_its_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    key = f"models.{name.replace('-', '_')}.variant"
    config = tmp_path / "fortress.toml"
    config.write_text(
        f'state_dir = "{tmp_path}"\n[{key.removesuffix(".variant")}]\nvariant = "int4"\n'
    )
    assert main(["model", "verify", name, "--config", str(config)]) == 1
    assert "has no variant 'int4': no graph int4" in capsys.readouterr().out.replace("\n", " ")
    config.write_text(f'state_dir = "{tmp_path}"\n')
    assert main(["model", "verify", name, "--config", str(config)]) == 0


def test_8_bits_of_the_sequence_model_are_whole_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "fortress.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[models.threat_lstm]\nvariant = "int8"\n')
    entry = Registry().load("threat-lstm")
    whole = {"int8", "carried-int8"} <= set(entry.recipe.variants)
    assert main(["model", "verify", "threat-lstm", "--config", str(config)]) == int(not whole)
    told = capsys.readouterr().out
    assert "good" in told if whole else "models.threat_lstm.variant asks for it" in told
