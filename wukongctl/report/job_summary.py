"""Report formats for CI: a Mermaid chart, a summary within GitHub's size limit, a benchmark series."""

import json
from typing import Any

import numpy as np

from wukongctl.laws.analysis import Report
from wukongctl.laws.axis import COMPUTE
from wukongctl.report.palette import COLORS, NAMES

# GitHub rejects step summaries above 1 MiB.
SUMMARY_BYTES = 900_000
NOTICE = "\n\n*Truncated: the full report is in report.html and report.json.*\n"
CHART_POINTS = 25
CHART_LEAST_DECADES = 0.3


def mermaid(report: Report) -> str | None:
    """The laws as a Mermaid chart, over the compute that all curves share; None when the range is too small.

    Mermaid spaces values evenly and has neither gaps nor legends, hence log10 x and the shared range.
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
    padding = 0.05 * (top - bottom) or 0.05
    unit = report.unit
    palette = ", ".join(COLORS[i % len(COLORS)] for i, curve in enumerate(report.curves) if curve.law)
    ends = [np.log10(end / unit.size) for end in (low, high)]
    theme = json.dumps({"themeVariables": {"xyChart": {"plotColorPalette": palette}}})
    values = [f"    line [{', '.join(f'{value:.6g}' for value in line)}]" for line in lines]
    return "\n".join(
        [
            f"%%{{init: {theme}}}%%",
            "xychart-beta",
            f'    x-axis "log10 {_quoted(report.source.axis.titled(unit))}" {ends[0]:.4g} --> {ends[1]:.4g}',
            f'    y-axis "loss" {bottom - padding:.6g} --> {top + padding:.6g}',
            *values,
        ]
    )


def _quoted(title: str) -> str:
    """A title inside the quotation marks of a Mermaid chart, which has no escapes."""
    return title.replace('"', "'")


def _place(x: float, report: Report) -> str:
    axis = report.source.axis
    return f"{x:.6g} GFLOP per example" if axis is COMPUTE else f"{x:.6g} {axis.key}"


def chart_order(report: Report) -> str:
    """Names of the curves in the order of the chart's lines, with their colors."""
    return ", ".join(
        f"{NAMES[i % len(NAMES)]} {curve.name}" for i, curve in enumerate(report.curves) if curve.law
    )


def truncate(text: str, limit: int = SUMMARY_BYTES) -> str:
    """The text, truncated at a line end with a notice when longer than `limit` bytes in UTF-8."""
    if len(text.encode()) <= limit:
        return text
    head = text.encode()[: limit - len(NOTICE.encode())].decode(errors="ignore")
    return head.rpartition("\n")[0] + NOTICE


def benchmark(report: Report) -> list[dict[str, Any]]:
    """One series per configuration in the format of github-action-benchmark; smaller is better."""
    return [
        {
            "name": f"{curve.name} at {_place(size.x, report)}",
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
