# SPDX-License-Identifier: Apache-2.0
"""One module per process: wires rooms together and runs the loop."""
