# SPDX-License-Identifier: Apache-2.0
"""The powercap reader: root only to open RAPL's counters, then a process that may do nothing."""
