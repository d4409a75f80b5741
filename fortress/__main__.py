# SPDX-License-Identifier: Apache-2.0
"""`python -m fortress` is the command `fortress`."""

import sys

from fortress.cli import main

sys.exit(main())
