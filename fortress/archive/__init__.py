# SPDX-License-Identifier: Apache-2.0
"""Flows kept as columns: Parquet for queries and training, CSV and JSON lines for other tools."""
