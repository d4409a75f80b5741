# SPDX-License-Identifier: Apache-2.0
"""Who is on the network, and what each device may reach when."""
