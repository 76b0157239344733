# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Execution of compiled pipelines on this machine under the rules of Kubeflow's driver and launcher."""
