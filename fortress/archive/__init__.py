# SPDX-License-Identifier: Apache-2.0
"""Flows kept as columns: Parquet for queries and training, CSV and JSON lines for other tools."""

import os

# Before pyarrow is loaded, because its C++ asks only once: 20 MB less than its own allocator, which
# keeps what the largest file took.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
