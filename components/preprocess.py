# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Raw rows become examples; what leaves is kept with its reason."""

from kfp.dsl import Artifact, Dataset, Metrics, Output

from components.base import component


@component
def preprocess(
    data: str,
    task: dict,
    config: dict,
    examples: Output[Dataset],
    dropped: Output[Dataset],
    report: Output[Artifact],
    metrics: Output[Metrics],
):
    """Read labelled rows in any accepted shape, validate, normalise and deduplicate them.

    Args:
        data: Local path or gs:// URI of the labelled rows.
        task: Section `task` of the configuration.
        config: Section `preprocess`.
    """
    from gemtune import preprocess

    summary = preprocess.run(data, task, config, examples.path, dropped.path, report.path)
    metrics.metadata.update(summary)
