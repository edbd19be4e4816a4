from dataclasses import replace

from wukongctl.laws.analysis import build
from wukongctl.laws.points import Point, PointSet
from wukongctl.report import wording
from wukongctl.report.document import to_dict
from wukongctl.report.files import to_markdown
from wukongctl.report.wording import sentences


def test_no_gain_is_claimed_for_compute_that_was_not_measured() -> None:
    """Eight runs between 798 and 803 kFLOP: the law is steep there and not identified at a quarter of it."""
    losses = (0.4626, 0.4611, 0.4637, 0.4602, 0.4615, 0.4598, 0.4607, 0.4593)
    sizes = (798e-6, 798e-6, 799e-6, 799e-6, 801e-6, 801e-6, 803e-6, 803e-6)
    points = tuple(
        Point("wukong", x, loss, seed % 2) for seed, (x, loss) in enumerate(zip(sizes, losses, strict=True))
    )
    report = build(PointSet(points, "logloss"))
    (curve,) = report.curves
    assert curve.law is not None
    said = list(sentences(curve, report))
    assert any("span a factor of 1.01 in compute" in sentence for sentence in said)
    assert not any("saved 4" in sentence or "last 4x in" in sentence for sentence in said)
    assert "saved 4" not in to_markdown(report)
    assert to_dict(report)["comparisons"]["gain_per_4x"] == []


def test_a_bound_of_the_search_is_no_confidence_limit() -> None:
    flat = tuple(Point("m", float(x), 0.5 + 0.001 * (-1) ** i) for i, x in enumerate((1, 2, 4, 8, 16, 32)))
    curve = build(PointSet(flat, "logloss"), thorough=False).curves[0]
    assert curve.law is not None
    low, high = wording.searched(curve.law, "c")
    assert wording.limits(curve.law, "c", (low, high)) == (None, None)
    assert wording.limits(curve.law, "c", (0.2, 0.4)) == (0.2, 0.4)
    assert wording.limits(curve.law, "E", (0.0, 0.3)) == (None, 0.3)
    steep = replace(curve.law, exponent=high, at_bound=("c",))
    assert wording.value(steep, "c") == f"≥ {high:g}"
    assert wording.value(replace(steep, exponent=low), "c") == f"≤ {low:g}"
    assert wording.value(replace(steep, at_bound=()), "c") == f"{high:g}"
    assert wording.exponent(steep, (0.2, high), ()) == f"≥ {high:g} (0.2 to …)"
