"""A report where a CI job is read: a chart in Mermaid, a summary below GitHub's limit, a benchmark series."""

import json
from typing import Any

import numpy as np

from wukongctl.laws.analysis import Report
from wukongctl.report.plots import COLORS

# GitHub refuses a step summary above 1 MiB, all of it.
SUMMARY_BYTES = 900_000
NOTICE = "\n\n*Cut here: the whole report is in report.html and report.json.*\n"
CHART_POINTS = 25
CHART_LEAST_DECADES = 0.3


def mermaid(report: Report) -> str | None:
    """The laws over the compute that all curves share, as a Mermaid chart; None when they share too little.

    Mermaid spaces values evenly and knows neither gaps nor legends, hence log10 x and the shared range.
    """
    curves = [curve for curve in report.curves if curve.law is not None]
    if not curves:
        return None
    low = max(curve.sizes[0].x for curve in curves)
    high = min(curve.sizes[-1].x for curve in curves)
    if np.log10(high / low) < CHART_LEAST_DECADES:
        return None
    x = np.geomspace(low, high, CHART_POINTS)
    lines = [curve.law.predict(x) for curve in curves if curve.law is not None]
    bottom, top = min(map(np.min, lines)), max(map(np.max, lines))
    room = 0.05 * (top - bottom) or 0.05
    unit = report.unit
    palette = ", ".join(COLORS[i % len(COLORS)] for i, curve in enumerate(report.curves) if curve.law)
    ends = [np.log10(end / unit.size) for end in (low, high)]
    theme = json.dumps({"themeVariables": {"xyChart": {"plotColorPalette": palette}}})
    values = [f"    line [{', '.join(f'{value:.6g}' for value in line)}]" for line in lines]
    return "\n".join(
        [
            f"%%{{init: {theme}}}%%",
            "xychart-beta",
            f'    x-axis "log10 training {unit.name} per example" {ends[0]:.4g} --> {ends[1]:.4g}',
            f'    y-axis "loss" {bottom - room:.6g} --> {top + room:.6g}',
            *values,
        ]
    )


def chart_order(report: Report) -> str:
    """The curves in the order of the chart's lines, with their colors in words."""
    names = ("blue", "vermilion", "green", "pink", "orange", "sky blue", "brown", "violet")
    return ", ".join(
        f"{names[i % len(names)]} {curve.name}" for i, curve in enumerate(report.curves) if curve.law
    )


def fitting(text: str, limit: int = SUMMARY_BYTES) -> str:
    """The text, cut at a line with a notice where it is longer than `limit` bytes in UTF-8."""
    if len(text.encode()) <= limit:
        return text
    kept = text.encode()[: limit - len(NOTICE.encode())].decode(errors="ignore")
    return kept.rpartition("\n")[0] + NOTICE


def benchmark(report: Report) -> list[dict[str, Any]]:
    """One series per configuration in the format of github-action-benchmark; smaller is better."""
    return [
        {
            "name": f"{curve.name} at {size.x:.6g} GFLOP per example",
            "unit": report.source.metric,
            "value": size.loss,
            **(
                {}
                if size.interval is None
                else {"range": f"± {(size.interval[1] - size.interval[0]) / 2:.3g}"}
            ),
            "extra": f"{size.runs} runs",
        }
        for curve in report.curves
        for size in curve.sizes
    ]
