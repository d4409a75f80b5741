# SPDX-License-Identifier: Apache-2.0
"""What is remembered between runs: SQLite or PostgreSQL behind one class."""

from fortress.store.database import Run, Store

__all__ = ["Run", "Store"]
