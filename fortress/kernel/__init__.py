# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells of this machine's network, and the netlink it is asked by."""
