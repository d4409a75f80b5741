"""Instruction counts of the hot paths, held to what was recorded."""
