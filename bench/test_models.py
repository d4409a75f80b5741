"""Every model that ships, in its session: rows a second in batches, and what the session adds.

`python -m bench.test_models` prints the rates and the overhead over ONNX Runtime itself at one row,
with the limit that is promised.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.conftest import Run
from fortress.inference import ModelEntry, Registry
from fortress.inference.session import Session

pytestmark = pytest.mark.benchmark(timer=time.process_time)  # neighbours do not count
BATCHES = (1, 32, 1024, 8192)
LIMIT = 1.3  # times what the runtime alone takes, at one row
_ROUNDS, _RUNS = 150, 20


def names() -> tuple[str, ...]:
    """The models that ship."""
    return Registry().names()


def rows_for(entry: ModelEntry, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Values as they may come, and full lengths for sequences."""
    recipe, rng = entry.recipe, np.random.default_rng(5)
    time_axis = (recipe.steps,) if recipe.steps else ()
    matrix = rng.normal(0, 1, (rows, *time_axis, len(recipe.features))).astype(np.float32)
    return matrix, np.full(rows, recipe.steps) if recipe.steps else None


def given(session: Session, matrix: np.ndarray, length: np.ndarray | None) -> tuple[Any, ...]:
    """The arguments of a run; a graph without lengths is given none."""
    return (matrix, length) if session._ports.length else (matrix,)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", names())
def test_a_session_runs_a_batch(bench: Run, name: str, batch: int) -> None:
    entry = Registry().load(name)
    session = Session(entry)
    arguments = given(session, *rows_for(entry, batch))
    bench(lambda: session.run(*arguments))


@pytest.mark.parametrize("name", names())
def test_a_version_is_loaded_and_opened(bench: Run, name: str) -> None:
    bench(lambda: Session(Registry().load(name)))


def overhead(name: str) -> float:
    """What one row costs in the session ÷ in the runtime alone, the median of rounds in turn."""
    entry = Registry().load(name)
    session = Session(entry)
    arguments = given(session, *rows_for(entry, 1))
    ports, runtime = session._ports, session._session
    fed = dict(zip((ports.matrix, ports.length), arguments, strict=False))
    return statistics.median(
        cpu_s(lambda: session.run(*arguments)) / cpu_s(lambda: runtime.run([ports.main], fed))
        for _ in range(_ROUNDS)
    )


def cpu_s(run: Callable[[], object]) -> float:
    begun = time.process_time()
    for _ in range(_RUNS):
        run()
    return time.process_time() - begun


def main() -> None:
    """Print a table."""
    for name in names():
        entry = Registry().load(name)
        session = Session(entry)
        told = []
        for batch in BATCHES:
            arguments = given(session, *rows_for(entry, batch))
            session.run(*arguments)
            runs = max(3, 2000 // batch)
            rounds = []
            for _ in range(5):
                begun = time.process_time()
                for _ in range(runs):
                    session.run(*arguments)
                rounds.append((time.process_time() - begun) / runs)
            told.append(f"{batch}: {batch / statistics.median(rounds):,.0f}")
        ratio = overhead(name)
        state = "met" if ratio <= LIMIT else "NOT met"
        print(f"{name} {entry.recipe.version}: rows/s at {', '.join(told)}")
        print(f"  one row: {ratio:.2f} × the runtime alone (limit {LIMIT}: {state})")


if __name__ == "__main__":
    main()
