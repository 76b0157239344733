# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The report's plots as inline SVG: loss curves and calibration. No text of the data is in them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Point = tuple[datetime, float, float | None, float | None, float | None]
"""End of a window; a value, its interval, and the value at which it is an alarm."""


def svg(figure: Any) -> str:
    """A matplotlib figure as an inline SVG element, with real text, without date or version in it."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def curve(series: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Loss and next-step accuracy of both splits over steps; series are lists of (step, value)."""
    from matplotlib.figure import Figure

    panels = [
        ("loss", ["/train_total_loss", "/preference_optimization_train_loss"], ["/eval_total_loss"]),
        (
            "correct next tokens",
            ["/train_fraction_of_correct_next_step_preds"],
            ["/eval_fraction_of_correct_next_step_preds"],
        ),
    ]
    figure = Figure(figsize=(9, 3))
    for place, (title, trained, validated) in enumerate(panels, 1):
        axes = figure.add_subplot(1, 2, place)
        for names, style, label in ((trained, "-", "training"), (validated, "o-", "validation")):
            for points in (series[name] for name in names if series.get(name)):
                axes.plot([p[0] for p in points], [p[1] for p in points], style, label=label, markersize=4)
        axes.set_xlabel("step")
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
    figure.tight_layout()
    return svg(figure)


def reliability(calibration: Mapping[str, Any] | None) -> str:
    """A reliability diagram, as stated and after calibration on validation rows; and accuracy by coverage."""
    from matplotlib.figure import Figure

    if not calibration:
        return ""
    figure = Figure(figsize=(9, 3.4))
    axes = figure.add_subplot(1, 2, 1)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    series = [("as stated", calibration["reliability"], "C0")]
    series += (
        [("calibrated", calibration["validation_of_map"]["reliability"], "C1")]
        if "validation_of_map" in calibration
        else []
    )
    for label, bins, colour in series:
        sure, right = [point["confidence"] for point in bins], [point["accuracy"] for point in bins]
        below = [max(0.0, point["accuracy"] - point["accuracy_low"]) for point in bins]
        above = [max(0.0, point["accuracy_high"] - point["accuracy"]) for point in bins]
        axes.errorbar(sure, right, yerr=[below, above], fmt="o-", label=label, markersize=4, linewidth=1, color=colour)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(frameon=False, fontsize=8)
    axes = figure.add_subplot(1, 2, 2)
    axes.plot(
        [point["coverage"] for point in calibration["coverage"]],
        [point["accuracy"] for point in calibration["coverage"]],
        ".-",
    )
    axes.set(
        xlabel="coverage: share of rows answered, most confident first",
        ylabel="accuracy",
        xlim=(0, 1.02),
        ylim=(0, 1.02),
    )
    figure.tight_layout()
    return svg(figure)


def trend(points: Sequence[Point]) -> str:
    """Value with interval of each window, and the line at which it is an alarm; "" without points."""
    from matplotlib.figure import Figure

    if not points:
        return ""
    figure = Figure(figsize=(9, 2.4))
    axes = figure.add_subplot()
    ends = [end.strftime("%Y-%m-%d") for end, *_ in points]
    below = [0.0 if low is None else max(0.0, value - low) for _, value, low, *_ in points]
    above = [0.0 if high is None else max(0.0, high - value) for _, value, _, high, _ in points]
    axes.errorbar(ends, [value for _, value, *_ in points], yerr=[below, above], fmt="o-", markersize=4, linewidth=1)
    axes.plot(ends, [float("nan") if line is None else line for *_, line in points], "--", color="C3")
    axes.tick_params(axis="x", rotation=45, labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)
