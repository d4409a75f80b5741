# SPDX-License-Identifier: Apache-2.0
"""The detectors, one file each; the folder listing is the catalogue."""
