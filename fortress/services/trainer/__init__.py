# SPDX-License-Identifier: Apache-2.0
"""The trainer: a job that makes models fit this network and publishes them for promotion."""
