import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.laws.ladders import ladder, point_set
from tests.laws.paper import DCNV2, WUKONG, table
from wukongctl.laws.analysis import build
from wukongctl.laws.point_tables import read_table
from wukongctl.laws.points import Point, PointSet
from wukongctl.report import files as reports
from wukongctl.report.job_summary import NOTICE, benchmark, mermaid, truncate


def test_the_chart_samples_the_laws_evenly_over_the_shared_range(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(table(Wukong=WUKONG, DCNv2=DCNV2))
    report = build(read_table(tmp_path / "p.csv"))
    chart = mermaid(report)
    assert chart is not None
    low, high = map(float, re.findall(r"per example\" (\S+) --> (\S+)", chart)[0])
    assert (10**low, 10**high) == pytest.approx((3.0, 43.88), rel=1e-3)
    lines = [[float(v) for v in found.split(", ")] for found in re.findall(r"line \[(.*)\]", chart)]
    x = np.logspace(low, high, 25)
    for line, curve in zip(lines, report.curves, strict=True):
        assert curve.law is not None
        assert line == pytest.approx(curve.law.predict(x), rel=2e-3)
    assert f"```mermaid\n{chart}\n```" in reports.to_markdown(report)
    assert json.loads(re.findall(r"%%\{init: (.*)\}%%", chart)[0])


def test_curves_without_a_common_range_have_no_chart() -> None:
    points = tuple(Point(m, float(x * s), 0.5 / x) for m, s in (("a", 1), ("b", 100)) for x in (1, 2, 4))
    assert mermaid(build(PointSet(points, "logloss"))) is None


def test_long_summaries_are_truncated_at_a_line_end_with_a_notice() -> None:
    text = "".join(f"| {i} | ü |\n" for i in range(200_000))
    cut = truncate(text)
    assert len(cut.encode()) <= 900_000
    assert cut.endswith(NOTICE)
    assert text.startswith(cut.removesuffix(NOTICE))
    assert cut.removesuffix(NOTICE).endswith("|")
    assert truncate("short") == "short"


def test_the_benchmark_series_is_what_the_action_reads() -> None:
    report = build(point_set(ladder(np.random.default_rng(1))))
    series = benchmark(report)
    assert len(series) == 6
    assert set(series[0]) == {"name", "unit", "value", "range", "extra"}
    assert all(isinstance(one["value"], float) for one in series)
