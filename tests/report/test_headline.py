from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wukongctl.laws.analysis import Report, build
from wukongctl.laws.axis import COMPUTE, TRAINING
from wukongctl.laws.point_tables import read_table
from wukongctl.laws.points import Point, PointSet
from wukongctl.report.evidence import analyses, contest_sentence, sensitivity
from wukongctl.report.files import to_html, to_markdown
from wukongctl.report.headline import headline

X = tuple(float(x) for x in np.geomspace(1, 1000, 7))


def falling(exponent: float) -> list[float]:
    return [0.4 + 0.1 * x**-exponent for x in X]


def points(curve: str, losses: Sequence[float], **facts: object) -> list[Point]:
    """Three seeds of each size with a little noise, the same for every curve."""
    noise = np.random.default_rng(3).normal(0, 2e-5, (len(X), 3))
    return [
        Point(curve, x, float(loss + noise[i, seed]), seed, **facts)  # type: ignore[arg-type]
        for i, (x, loss) in enumerate(zip(X, losses, strict=True))
        for seed in range(3)
    ]


def report_of(*found: Sequence[Point], axis: object = COMPUTE) -> Report:
    every = tuple(point for each in found for point in each)
    return build(PointSet(every, "logloss", axis=axis), thorough=False)  # type: ignore[arg-type]


def test_scaling_comes_first_and_the_lowest_loss_last() -> None:
    said = headline(report_of(points("a", falling(0.3)), points("b", falling(0.5))))
    assert said.startswith(
        "a and b still improve with more compute, up to the largest size measured. With ten "
    )
    assert "the loss above its floor is divided by 2 for a (c = 0.3; " in said
    assert "and 3.2 for b (c = 0.5; " in said
    assert "Both laws predicted their held-out largest size. " in said
    assert said.endswith("Lowest loss: b, 0.4032, at 1 TFLOP per example.")


def test_each_verdict_has_its_clause() -> None:
    flat = [0.4 + 1e-7 * i for i in range(len(X))]
    rising = [0.4 + 0.01 * i for i in range(len(X))]
    said = headline(report_of(points("a", falling(0.4)), points("b", rising), points("c", flat)))
    assert "a still improves with more compute, up to the largest size measured; " in said
    assert "b gets worse with more compute" in said
    assert "c is " in said
    alone = headline(report_of([Point("a", x, 0.4) for x in X[:2]]))
    assert alone.startswith("Too few sizes to fit a law. Lowest loss: 0.4, at 1 GFLOP per example.")


def test_what_the_table_calls_no_law_is_no_law_that_predicted() -> None:
    rising = points("odd", [0.4 + 0.01 * i for i in range(len(X))])
    said = headline(report_of(points("a", falling(0.3)), points("b", falling(0.5)), rising))
    assert "Both laws predicted their held-out largest size." in said


def test_many_curves_are_counted_and_few_are_named() -> None:
    curves = [points(f"m{i}", falling(0.3 + 0.01 * i)) for i in range(5)]
    rising = points("odd", [0.4 + 0.01 * i for i in range(len(X))])
    said = headline(report_of(*curves, rising))
    assert "5 of 6 curves still improve with more compute" in said
    assert "; odd gets worse with more compute." in said
    assert headline(report_of(*curves)).startswith("All 5 curves still improve with more compute")


def test_a_test_that_no_further_gain_passes_better_is_not_praised() -> None:
    stopped = [0.9, 0.7, 0.6, 0.55, 0.52, 0.5, 0.5]
    said = headline(report_of([Point("a", x, y) for x, y in zip(X, stopped, strict=True)]))
    assert said.startswith("The runs do not tell whether the loss still falls with more compute. ")
    assert "predicted its held-out largest size, but worse than the guess of no further gain." in said


def test_laws_whose_test_is_too_uncertain_are_not_counted_silently() -> None:
    uncertain = [Point("c", x, y) for x, y in zip(X[:5], [0.6, 0.5, 0.45, 0.44, 0.4], strict=True)]
    said = headline(report_of(points("a", falling(0.3)), points("b", falling(0.5)), uncertain))
    assert "Both laws that could be tested predicted their held-out largest size" in said


def test_losses_of_several_tasks_are_not_ranked() -> None:
    tasks = [points(name, falling(0.3), group=name) for name in ("clicks", "likes")]
    assert "Lowest loss" not in headline(report_of(*tasks))


def test_a_law_of_size_and_data_gives_its_exponents() -> None:
    rng = np.random.default_rng(0)
    every = [
        Point("a", n, float(0.3 + 0.4 * n**-0.4 + 2 * d**-0.3 + rng.normal(0, 1e-5)), examples=int(d))
        for n in np.geomspace(1, 100, 6)
        for d in np.geomspace(1e3, 1e6, 6)
    ]
    said = headline(build(PointSet(tuple(every), "logloss"), draws=20, thorough=False))
    assert "With size N and data D, the loss is E + A N^−a + B D^−b: a = 0.4 (" in said
    assert " and b = 0.3 (" in said


AMOUNTS = """model,tokens,loss
lm,1e8,3.29
lm,1e9,2.50
lm,1e10,2.10
lm,3e10,1.99
lm,1e11,1.90
"""


@pytest.mark.parametrize("show", [to_html, to_markdown])
@pytest.mark.usefixtures("no_plots")
def test_a_curve_over_data_has_amounts_and_not_sizes(show: object, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(AMOUNTS)
    report = build(read_table(tmp_path / "t.csv"))
    text = show(report)  # type: ignore[operator]
    body = text[text.index("</style>") :] if "</style>" in text else text
    body = body[: body.index("<script>")] if "<script>" in body else body
    found = [line for line in body.splitlines() if "size" in line.lower()]
    assert [line for line in found if "Li, Kudugunta" not in line] == []
    assert "amounts of data" in body
    assert "more data, up to the most data measured" in body
    ((name, one),) = analyses(report)
    assert one.contest
    assert "the 2 largest amounts of data" in contest_sentence(
        name, replace(one.contest, held_out_sizes=2, held_out_error=0.1), one.axis
    )
    assert (sensitivity(one) or "").startswith("Without any one amount of data")


def test_data_beside_compute_is_noted_or_unknown(tmp_path: Path) -> None:
    rows = [f"lm,{c:.6g},{{}}{1.7 + 400 * c**-0.13:.5f}" for c in np.geomspace(1e18, 1e21, 7)]
    (tmp_path / "known.csv").write_text(
        "model,flops,examples,loss\n" + "\n".join(row.format(f"{i + 1}000,") for i, row in enumerate(rows))
    )
    (tmp_path / "unknown.csv").write_text("model,flops,loss\n" + "\n".join(row.format("") for row in rows))
    question = "Same amount of data for all runs of a curve: "
    known = build(read_table(tmp_path / "known.csv"), thorough=False)
    assert known.source.axis is TRAINING
    assert "unequal_data" in known.curves[0].notes
    assert f"{question}no, see unequal&#95;data: lm" in to_markdown(known).replace("_", "&#95;")
    unknown = build(read_table(tmp_path / "unknown.csv"), thorough=False)
    assert "unequal_data" not in unknown.curves[0].notes
    assert f"{question}**unknown**" in to_markdown(unknown)
    equal = report_of(points("a", falling(0.3), examples=1000))
    assert f"{question}yes" in to_markdown(equal)
