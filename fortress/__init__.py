# SPDX-License-Identifier: Apache-2.0
"""Fortress: a security gateway for small networks."""
