# SPDX-License-Identifier: Apache-2.0
"""What follows from a verdict: policy, the guard that acts, and the way to ask it."""
