"""Captures for training only: a file is a kind of traffic, and holds SCENARIOS by name.

They do not ship: `./dev lab record training` makes them in .cache/lab, where training looks.
"""
