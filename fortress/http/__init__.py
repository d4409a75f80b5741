# SPDX-License-Identifier: Apache-2.0
"""What every HTTP API of Fortress shares: who may, how errors look, event streams, the server."""
