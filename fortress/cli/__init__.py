# SPDX-License-Identifier: Apache-2.0
"""The command `fortress`: one file for each command, imported heavy only when it runs."""

from fortress.cli.main import build_parser, main

__all__ = ["build_parser", "main"]
