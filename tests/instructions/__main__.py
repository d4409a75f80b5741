"""`python -m tests.instructions [PART …]` records the counts as they are now, of all or some."""

import sys

from tests.instructions.count import record

record(sys.argv[1:])
