# SPDX-License-Identifier: Apache-2.0
"""Columns in, float32 matrices out: one file a family of features."""
