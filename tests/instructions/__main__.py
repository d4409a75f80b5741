"""`python -m tests.instructions` records the counts as they are now."""

from tests.instructions.count import record

record()
