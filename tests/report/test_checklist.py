import numpy as np

from tests.laws.ladders import ladder, point_set
from wukongctl.laws.analysis import build
from wukongctl.laws.axis import PARAMETERS, TOKENS
from wukongctl.laws.points import Point, PointSet
from wukongctl.report.checklist import checklist
from wukongctl.report.document import to_dict
from wukongctl.report.files import to_html, to_markdown


def test_items_are_filled_from_the_runs_and_unknown_ones_named() -> None:
    report = build(point_set(ladder(np.random.default_rng(0))), draws=0)
    answers = {item.question: item.answer for item in checklist(report)}
    assert answers["Form of the law"] == "y = E + A x^-c"
    assert answers["Number of runs"] == "18 fitted, 0 not fitted"
    assert answers["Seeds per size"] == "3 runs"
    assert answers["Training data per run"] == "1,000 examples"
    assert answers["Split"] == "test"
    assert answers["Irreducible loss"] == "fitted"
    assert answers["Hyperparameters: which, and how chosen"] is None
    assert answers["Epochs"] is None
    assert "Epochs: **unknown**" in to_markdown(report)
    assert "items unknown" in to_html(report)
    assert {item["section"] for item in to_dict(report)["checklist"]} == {
        "Hypothesis", "Training setup", "Data collection", "Fitting",
    }  # fmt: skip


def test_parameters_on_the_axis_and_tokens_are_known() -> None:
    points = tuple(
        Point("m", 1e6 * n, 0.3 + 0.1 / n + 100 / d, examples=d)
        for n in (1, 4, 16)
        for d in (1000, 4000, 16000)
    )
    source = PointSet(points, "loss", axis=PARAMETERS, data=TOKENS)
    answers = {item.question: item.answer for item in checklist(build(source, thorough=False))}
    assert (answers["Parameters"] or "").startswith("1,000,000 to 16,000,000; ")
    assert answers["Variables and their definition"] == "x: parameters; D: training tokens"


def test_a_robust_fit_and_a_known_floor_are_stated() -> None:
    source = point_set(ladder(np.random.default_rng(0)))
    answers = {item.question: item.answer for item in checklist(build(source, delta=1e-3, draws=0))}
    assert (answers["Objective"] or "").startswith("Huber loss of log residuals of runs, threshold 0.001")
    known = {item.question: item.answer for item in checklist(build(source, floor=0.39, draws=0))}
    assert known["Irreducible loss"] == "known: 0.39"
