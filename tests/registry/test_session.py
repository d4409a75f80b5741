"""Sessions: shapes that are taken, and answers that no neighbour changes."""

from pathlib import Path

import numpy as np
import pytest

from fortress.inference import ModelRejected
from fortress.inference.session import Session
from tests.registry.graphs import CLASSES, STEPS, entry, network, recurrent

WIDTH = 20


@pytest.fixture(scope="module")
def rows() -> Session:
    return Session(entry(network(WIDTH, 3), "flow", WIDTH, CLASSES))


@pytest.fixture(scope="module")
def sequences() -> Session:
    return Session(entry(recurrent(WIDTH), "sequence", WIDTH, CLASSES))


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The recurrent network with 8-bit weights, quantizing its input as it runs."""
    from onnxruntime.quantization import quantize_dynamic

    folder = tmp_path_factory.mktemp("int8")
    (folder / "m.onnx").write_bytes(recurrent(WIDTH))
    quantize_dynamic(folder / "m.onnx", folder / "q.onnx", op_types_to_quantize=["LSTM"])
    return (folder / "q.onnx").read_bytes()


def windows(rng: np.random.Generator, rows: int, time: int = STEPS) -> np.ndarray:
    return rng.normal(0, 1, (rows, time, WIDTH)).astype(np.float32)


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9, 63, 64, 65, 255, 256, 257, 700])
def test_a_row_has_the_same_bits_in_a_batch_of_any_size(
    rows: Session, rng: np.random.Generator, size: int
) -> None:
    matrix = rng.normal(0, 3, (700, WIDTH)).astype(np.float32)
    whole = rows.run(matrix)
    parts = [rows.run(matrix[at : at + size]) for at in range(0, 700, size)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert np.allclose(whole.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 7, 8, 13, 41])
def test_a_sequence_has_the_same_bits_in_a_batch_of_any_size(
    sequences: Session, rng: np.random.Generator, size: int
) -> None:
    matrix, length = windows(rng, 41), rng.integers(1, STEPS + 1, 41)
    whole = sequences.run_all(matrix, length)
    assert set(whole) == {"probability", "surprise"} == set(sequences.outputs)
    assert whole["surprise"].shape == (41,)
    parts = [
        sequences.run_all(matrix[at : at + size], length[at : at + size])
        for at in range(0, 41, size)
    ]
    for name, values in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), values)


def test_steps_beyond_a_sequences_length_change_nothing(
    sequences: Session, rng: np.random.Generator
) -> None:
    matrix, length = windows(rng, 5), np.array([1, 9, 30, 63, 64])
    said = sequences.run(matrix, length)
    for row, filled in enumerate(length):
        matrix[row, filled:] = 1e3
        alone = sequences.run(matrix[row : row + 1, :filled])
        assert np.array_equal(alone[0], said[row])
    assert np.array_equal(sequences.run(matrix, length), said)


def test_lengths_that_are_not_told_are_whole(sequences: Session, rng: np.random.Generator) -> None:
    matrix = windows(rng, 3, 17)
    assert np.array_equal(sequences.run(matrix), sequences.run(matrix, np.full(3, 17)))


def test_a_graph_that_quantizes_as_it_runs_is_run_row_by_row(
    quantized: bytes, rng: np.random.Generator
) -> None:
    session = Session(entry(quantized, "sequence", WIDTH, CLASSES))
    assert session.sizes == (1,)
    matrix = windows(rng, 9, 12)
    loud = matrix.copy()
    loud[1:] *= 100
    assert np.array_equal(session.run(matrix)[0], session.run(loud)[0])


def test_no_rows_give_no_probabilities(rows: Session, sequences: Session) -> None:
    assert rows.run(np.empty((0, WIDTH), np.float32)).shape == (0, 3)
    assert sequences.run(np.empty((0, 4, WIDTH), np.float32)).shape == (0, 3)


def test_an_answer_stays_when_the_next_is_computed(rows: Session, rng: np.random.Generator) -> None:
    matrix = rng.normal(0, 1, (2, WIDTH)).astype(np.float32)
    first = rows.run(matrix[:1])
    kept = first.copy()
    rows.run(matrix[1:])
    assert np.array_equal(first, kept)


def test_bindings_are_bounded_whatever_lengths_are_asked_for(
    sequences: Session, rng: np.random.Generator
) -> None:
    for time in range(1, STEPS + 1):
        for count in (1, 8):
            sequences.run(windows(rng, count, time))
    assert len(sequences._bindings) <= 64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 8, 300])
def test_what_is_not_finite_never_reaches_the_runtime(
    rows: Session, value: float, count: int
) -> None:
    matrix = np.zeros((count, WIDTH), np.float32)
    matrix[-1, 3] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        rows.run(matrix)
    matrix[-1, 3] = 1e30
    assert np.isfinite(rows.run(matrix)).all()


@pytest.mark.parametrize(
    ("matrix", "length", "words"),
    [
        (np.zeros((2, WIDTH), np.float32), None, "time"),
        (np.zeros((2, 3, WIDTH + 1), np.float32), None, "float32"),
        (np.zeros((2, 3, WIDTH)), None, "float64"),
        (np.zeros((2, STEPS + 1, WIDTH), np.float32), None, "65 steps"),
        (np.zeros((2, 0, WIDTH), np.float32), None, "0 steps"),
        (np.zeros((2, 3, WIDTH), np.float32), np.array([3]), "int64 \\(2,\\)"),
        (np.zeros((2, 3, WIDTH), np.float32), np.array([3, 4]), "not 1 to 3"),
        (np.zeros((2, 3, WIDTH), np.float32), np.array([0, 3]), "not 1 to 3"),
        (np.zeros((2, 3, WIDTH), np.float32), np.array([1.0, 3.0]), "float64"),
    ],
)
def test_a_sequence_of_another_shape_is_an_error(
    sequences: Session, matrix: np.ndarray, length: np.ndarray | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        sequences.run(matrix, length)


def test_a_model_of_rows_takes_no_lengths(rows: Session) -> None:
    with pytest.raises(ValueError, match="lengths"):
        rows.run(np.zeros((1, WIDTH), np.float32), np.array([1]))


@pytest.mark.parametrize(
    ("graph", "kind", "width", "classes", "words"),
    [
        (network(WIDTH, 3), "sequence", WIDTH, CLASSES, "rows, time, 20"),
        (recurrent(WIDTH), "flow", WIDTH, CLASSES, r"not tensor\(float\) \[rows, 20\]"),
        (network(WIDTH, 3), "flow", WIDTH + 1, CLASSES, "rows, 21"),
        (network(WIDTH, 4), "flow", WIDTH, CLASSES, "none is"),
        (recurrent(WIDTH, 4), "sequence", WIDTH, CLASSES, "none is"),
    ],
)
def test_a_graph_whose_shape_is_not_the_recipes_is_refused(
    graph: bytes, kind: str, width: int, classes: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ModelRejected, match=words) as caught:
        Session(entry(graph, kind, width, classes))
    assert caught.value.reason == "shape"
    assert Path("models/m/m.onnx") == caught.value.path


def test_a_model_of_hosts_may_give_one_number_a_row(rng: np.random.Generator) -> None:
    session = Session(entry(network(WIDTH, 1), "host", WIDTH, ("surprise",)))
    assert session.run(rng.normal(0, 1, (9, WIDTH)).astype(np.float32)).shape == (9, 1)
