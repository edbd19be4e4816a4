import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import pytest

from tests.report.test_plots import report_of
from wukongctl.report import plots
from wukongctl.report.compact import compact
from wukongctl.report.inline import embed

Mark = tuple[str, float, float]
OTHERS = '<g><use href="#a" x="1.25" y="2" style="fill: red"/></g>'


def of(element: str) -> str:
    return f"<svg>{element}</svg>"


def marks(element: str) -> list[Mark]:
    """Style and place of every mark of an SVG, whether an element or the vertex of a line."""
    root = ET.fromstring(element)
    parents = {child: parent for parent in root.iter() for child in parent}
    styles = {
        parents[use].attrib["id"]: use.attrib["style"]
        for use in root.iter("use")
        if parents[use].tag == "marker"
    }
    return sorted([*alone(root), *in_lines(root, styles)])


def alone(root: ET.Element) -> Iterator[Mark]:
    for use in root.iter("use"):
        if {"x", "y", "style"} <= use.attrib.keys():
            yield use.attrib["style"], float(use.attrib["x"]), float(use.attrib["y"])


def in_lines(root: ET.Element, styles: dict[str, str]) -> Iterator[Mark]:
    for line in root.iter("polyline"):
        (name,) = re.findall(r"marker: url\(#(.+)\)", line.attrib["style"])
        for point in line.attrib["points"].split():
            x, y = point.split(",")
            yield styles[name], float(x), float(y)


def test_marks_of_one_look_become_one_line_at_the_same_places() -> None:
    looks = [("a", "red"), ("a", "red"), ("a", "red"), ("a", "blue"), ("b", "blue")]
    uses = "\n ".join(
        f'<use href="#{shape}" x="{at}.123456" y="{at}" style="fill: {fill}"/>'
        for at, (shape, fill) in enumerate(looks, start=20)
    )
    shorter = compact(of(f"<g>{uses}</g>{OTHERS}"))
    assert marks(shorter) == sorted(
        [
            *((f"fill: {fill}", at + 0.1, at) for at, (_, fill) in enumerate(looks, start=20)),
            ("fill: red", 1.25, 2),
        ]
    )
    assert (shorter.count("<polyline"), shorter.count("<marker ")) == (3, 3)
    assert len(set(re.findall(r'<marker id="([^"]+)"', shorter))) == 3
    assert OTHERS in shorter


def test_a_mark_takes_a_few_bytes() -> None:
    uses = "".join(f'<use href="#a" x="{n}.123456" y="12.345678" style="fill: red"/>\n' for n in range(1000))
    assert len(compact(of(uses))) < 15 * 1000 < len(uses) / 4


def test_strokes_of_one_look_become_one_path() -> None:
    look = 'clip-path="url(#p)" style="fill: none; stroke: red"'
    area = '<path d="M 0 0 L 9 9 z" style="fill: red"/>'
    strokes = "".join(f'<path d="M {at} 0\nL {at} 9.87654\n" {look}/>\n' for at in (11, 12))
    other = f'<path d="M 1 1\nL 2 2\n" {look.replace("red", "blue")}/>'
    shorter = compact(of(strokes + other + area * 2))
    assert re.findall(r'd="([^"]+)"', shorter) == [
        "M11 0L11 9.88M12 0L12 9.88", "M1 1L2 2", "M0 0L9 9z", "M0 0L9 9z",
    ]  # fmt: skip


@pytest.mark.parametrize("draw", [plots.scaling_svg, plots.diagnostics_svg])
def test_a_page_has_every_mark_of_a_figure_within_a_tenth_of_a_point(draw: object) -> None:
    figure = draw(report_of(sizes=12))  # type: ignore[operator]
    long = re.sub(r' xmlns(:\w+)?="[^"]*"', "", figure[figure.index("<svg") :]).replace("xlink:href", "href")
    before, after = marks(long), marks(embed(figure, prefix="p-", label="label"))
    assert len(before) == len(after) > 40
    for axis in (1, 2):
        for place, moved in zip(sorted(m[axis] for m in before), sorted(m[axis] for m in after), strict=True):
            assert abs(float(place) - float(moved)) <= 0.051
