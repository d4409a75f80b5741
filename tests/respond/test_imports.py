"""What runs with privileges is small: it imports no numerics and no frameworks."""

import subprocess
import sys

import pytest

HEAVY = ("numpy", "onnxruntime", "flask", "pydantic", "structlog", "rich", "pyarrow", "sqlalchemy",
         "prometheus_client", "scipy")  # fmt: skip
LOOK = """
import sys
{statement}
print(sorted(set(sys.modules) & set({heavy!r})))
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import fortress.respond.run",
        "import fortress.respond.client, fortress.respond.feeds, fortress.respond.policy",
        "import fortress.respond.run, fortress_core.live, fortress_core.tap, fortress_core.gate",
        "from fortress.cli import build_parser; build_parser()",
    ],
)
def test_a_fresh_interpreter_that_guards_has_nothing_heavy(statement: str) -> None:
    text = LOOK.format(statement=statement, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stdout + done.stderr
