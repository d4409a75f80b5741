"""How long tests wait for what is bound to happen: long, and longer where all is slow."""

import os

# Waits end with what they wait for, so that a large number costs nothing but when a test fails:
# two suites run beside each other on two cores. TEST_PATIENCE is set by tests/vm, where nothing
# has help from hardware.
PATIENCE = 3.0 * float(os.environ.get("TEST_PATIENCE", "1"))


def patient(seconds: float) -> float:
    """The time after which something will not come any more, if it takes `seconds` at worst on a
    machine of one's own.
    """
    return seconds * PATIENCE
