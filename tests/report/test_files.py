import csv
import errno
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from tests.laws.paper import DCNV2, DLRM, WUKONG, table
from wukongctl.data.atomic import write_atomic
from wukongctl.errors import RunFailed, UsageError
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.axis import Unit
from wukongctl.laws.point_tables import read_table
from wukongctl.laws.points import Excluded, Point, PointSet
from wukongctl.report import document, numbers
from wukongctl.report import files as reports
from wukongctl.report.headline import headline
from wukongctl.runs.warning_groups import LabeledWarning
from wukongctl.training.run_record import RunWarning


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Report:
    path = tmp_path_factory.mktemp("paper") / "points.csv"
    path.write_text(table(Wukong=WUKONG, DCNv2=DCNV2, DLRM=DLRM) + "DCNv2,84.71,diverged\n")
    return build(read_table(path))


@pytest.fixture(scope="module")
def paper_html(paper: Report) -> str:
    return reports.to_html(paper)


def synthetic(dataset: str = "synthetic") -> Report:
    points = tuple(
        Point(
            model,
            float(x),
            float(a * x**-0.2 * (1 + 0.01 * (seed - 1))),
            seed,
            1000,
            50,
            1.0,
            "valid.logloss",
            f"{model}-{seed}",
        )
        for model, a in (("wukong", 0.02), ("dlrm", 0.03))
        for x in np.geomspace(1e-5, 1e-3, 5)
        for seed in range(3)
    )
    return build(PointSet(points, "excess_logloss", "test", dataset, "f1", "6 x MAC", 0.0, 0.4))


class Page(HTMLParser):
    """Collects the tags, ids, links and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "srcset", "action", "data", "xlink:href"):
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_rounding_errors_of_zero_are_printed_as_zero() -> None:
    assert (numbers.number(9.9e-34), numbers.number(-1e-17), numbers.number(0.0)) == ("0", "0", "0")
    assert numbers.number(-1e-9) == "−1.000e−9"
    assert [numbers.number(x) for x in (9999.4, 12_345.0, -9_999_900.0)] == ["9999", "12340", "−10000000"]


# --- JSON -------------------------------------------------------------------------------------------------


def test_json_has_the_documented_keys(paper: Report) -> None:
    data = json.loads(document.to_json(paper))
    assert {"curves", "comparisons", "gates", "verdict", "files"} <= set(data)
    needed = {"model", "points", "form", "parameters", "intervals", "status", "notes", "extrapolation"}
    assert all(needed <= set(curve) for curve in data["curves"])
    assert (data["gates"], data["verdict"]) == ([], "pass")
    assert [curve["model"] for curve in data["curves"]] == ["Wukong", "DCNv2", "DLRM"]
    assert {"pareto", "compute_to_match", "gain_per_4x", "plateau"} <= set(data["comparisons"])


def test_json_numbers_are_the_papers(paper: Report) -> None:
    wukong = json.loads(document.to_json(paper))["curves"][0]
    assert wukong["parameters"]["E"] == pytest.approx(-0.843, abs=5e-4)
    assert wukong["parameters"]["E_ratio"] == pytest.approx(1 - 0.00843, abs=5e-6)
    assert wukong["parameters"]["c"] == pytest.approx(0.294, abs=5e-4)
    assert wukong["points"][0]["gflop_per_example"] == 0.53
    low, high = wukong["intervals"]["c"]
    assert low < wukong["parameters"]["c"] < high


def test_the_same_points_in_any_order_give_the_same_bytes() -> None:
    report = synthetic()
    shuffled = replace(report.source, points=tuple(sorted(report.source.points, key=lambda p: -p.loss)))
    again = replace(synthetic().source)
    assert document.to_json(build(again)) == document.to_json(report)
    assert reports.to_html(build(again)) == reports.to_html(report)
    first, second = json.loads(document.to_json(report)), json.loads(document.to_json(build(shuffled)))
    assert first["curves"][0]["parameters"] == pytest.approx(second["curves"][0]["parameters"], rel=1e-9)


def test_json_has_no_nan_for_degenerate_points() -> None:
    for count in (1, 2, 3):
        points = tuple(Point("m", float(x), 0.5) for x in range(1, count + 1))
        text = document.to_json(build(PointSet(points, "logloss")))
        assert "NaN" not in text
        assert "Infinity" not in text


@pytest.mark.usefixtures("no_plots")
def test_equal_warnings_are_one_line_with_the_number_of_runs() -> None:
    report = synthetic()
    few, best = (
        RunWarning(code=code, message=f"<{code}>", hint=f"do {code}")
        for code in ("few_updates", "best_first")
    )
    warned = [
        LabeledWarning(model, f"{model}-{seed}", few) for model in ("wukong", "dlrm") for seed in range(3)
    ]
    warned.append(LabeledWarning("dlrm", "dlrm-1", best))
    report = build(replace(report.source, warnings=tuple(warned)))
    data = json.loads(document.to_json(report))
    assert [(each["code"], len(each["runs"])) for each in data["warnings"]] == [
        ("few_updates", 6),
        ("best_first", 1),
    ]
    by_curve = {curve["model"]: curve["warnings"] for curve in data["curves"]}
    assert by_curve["wukong"] == [
        {"code": "few_updates", "message": "<few_updates>", "hint": "do few_updates",
         "runs": ["wukong-0", "wukong-1", "wukong-2"]}
    ]  # fmt: skip
    assert [each["code"] for each in by_curve["dlrm"]] == ["few_updates", "best_first"]
    page = Page(reports.to_html(report))
    text = " ".join(page.words)
    assert "6 of 30 runs (wukong, dlrm): <few_updates> [few_updates]" in text
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert page.links.count("#warning-few_updates") == 2
    assert (
        "**Warning:** 1 of 30 runs (dlrm): &#60;best_first&#62; &#91;best_first&#93;"
        in reports.to_markdown(report)
    )
    assert data["warnings"] == json.loads(document.to_json(build(report.source)))["warnings"]
    silent = reports.to_html(synthetic()) + reports.to_markdown(synthetic())
    assert "warning-" not in silent
    assert "**Warning" not in silent


# --- form and floor -----------------------------------------------------------------------------------------


def test_the_floor_is_free_unless_it_is_set(paper: Report) -> None:
    """Also on synthetic data: with a fixed number of examples, size alone does not reach the Bayes loss."""
    assert {curve.form.name for curve in paper.curves} == {"power"}
    assert {curve.form.name for curve in synthetic().curves} == {"power"}
    assert {c.form.name for c in build(synthetic().source, form="power-known-floor").curves} == {
        "power-known-floor"
    }
    assert {curve.form.name for curve in build(paper.source, form="loglin").curves} == {"loglin"}
    given = build(paper.source, floor=-1.0).curves[0]
    assert given.law is not None
    assert (given.form.name, given.law.level) == ("power-known-floor", -1.0)


def test_impossible_floors_are_rejected(paper: Report) -> None:
    for floor in (-0.5, -101.0):
        with pytest.raises(UsageError, match="floor"):
            build(paper.source, floor=floor)
    with pytest.raises(UsageError, match="needs a floor"):
        build(paper.source, form="power-known-floor")


def test_a_recorded_floor_above_a_run_is_not_used() -> None:
    """Sampling noise can put a test LogLoss below the Bayes loss; that must not stop a report."""
    points = tuple(Point("m", x, y) for x, y in ((1.0, 0.5), (2.0, 0.45), (4.0, 0.39), (8.0, 0.38)))
    report = build(PointSet(points, "logloss", floor=0.4, bayes_logloss=0.4))
    assert (report.floor, report.curves[0].form.name) == (None, "power")


# --- HTML and Markdown --------------------------------------------------------------------------------------


def test_html_is_self_contained(paper_html: str) -> None:
    for html in (paper_html, reports.to_html(synthetic())):
        page = Page(html)
        assert all(link.startswith("#") for link in page.links)
        assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", html.replace("// Click", ""))
        assert not {"link", "img", "iframe", "object"} & set(page.tags)


def test_html_ids_are_unique_and_every_link_has_its_target(paper_html: str) -> None:
    page = Page(paper_html)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


@pytest.mark.usefixtures("no_plots")
def test_html_explains_every_note_and_marks_descriptive_curves(paper: Report) -> None:
    words = " ".join(Page(reports.to_html(paper)).words)
    for code in {code for curve in paper.curves for code in curve.notes}:
        assert words.count(code) >= 2
    assert "descriptive only" in words
    assert "41.7×" in words
    assert "descriptive only" not in " ".join(Page(reports.to_html(synthetic())).words)


@pytest.mark.usefixtures("no_plots")
def test_html_escapes_names() -> None:
    html = reports.to_html(synthetic("<script>alert(1)</script>"))
    assert "<script>alert" not in html
    assert Page(html).tags.count("script") == 1


def test_html_follows_the_readers_color_scheme(paper_html: str) -> None:
    assert "prefers-color-scheme: dark" in paper_html
    figures = re.findall(r"<svg.*?</svg>", paper_html, flags=re.DOTALL)
    assert len(figures) == 4
    assert not any(re.search(r"#[0-9a-f]{6}\b", figure) for figure in figures)


def test_markdown_tables_have_a_cell_per_column(paper: Report) -> None:
    lines = reports.to_markdown(paper).splitlines()
    tables = [list(group) for is_row, group in groupby(lines, lambda line: line.startswith("|")) if is_row]
    assert len(tables) >= 3
    for table_rows in tables:
        assert len({line.count("|") for line in table_rows}) == 1, table_rows
    assert len([line for rows in tables for line in rows if line.startswith("| Wukong | 7 |")]) == 1
    assert "- DCNv2 needs 41.7 times the compute of Wukong" in "\n".join(lines)
    assert "\n\n\n" not in "\n".join(lines)


def test_markdown_escapes_names() -> None:
    text = reports.to_markdown(synthetic("<script>a|b</script>"))
    assert "<script>" not in text
    assert "&#60;script&#62;a&#124;b" in text
    assert "&#95;&#95;a_b&#95;&#95; &#36;m&#36;" in reports.to_markdown(synthetic("__a_b__ $m$"))


def test_exponents_have_no_plus_sign() -> None:
    assert [numbers.number(value) for value in (1e14, 2.5e7, 3e-12)] == ["1.000e14", "2.500e7", "3.000e−12"]


def test_compute_moves_to_a_nearer_unit_outside_a_thousandth_to_a_thousand() -> None:
    mega, giga = Unit(1e-3, "MFLOP"), Unit(1.0, "GFLOP")
    shown = ["500 MFLOP", "1 GFLOP", "2.5 GFLOP", "3 TFLOP"]
    assert [numbers.compute(x, mega) for x in (0.5, 0.99995, 2.5, 3000)] == shown
    assert [numbers.compute(x, giga) for x in (0.25, 5.2e-6, 0)] == ["0.25 GFLOP", "5.2 kFLOP", "0 kFLOP"]


# --- files --------------------------------------------------------------------------------------------------


def test_write_creates_exactly_the_returned_files(paper: Report, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "report"
    written = reports.write(paper, out)
    assert {path.name for path in written.values()} == {path.name for path in out.iterdir()}
    names = json.loads(written["json"].read_text())["files"]
    assert names == {kind: path.name for kind, path in written.items()}
    before = {path: path.read_bytes() for path in written.values()}
    reports.write(paper, out)
    assert {path: path.read_bytes() for path in written.values()} == before


@pytest.mark.usefixtures("no_plots")
def test_a_failed_write_leaves_the_old_file(
    paper: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports.write(paper, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(RunFailed, match="disk full"):
        reports.write(synthetic(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("no_plots")
def test_a_disk_that_fills_up_leaves_no_part_of_a_report(
    paper: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def fill(path: Path, write: Callable[[BinaryIO], object]) -> None:
        if len(written) == 4:
            raise RunFailed(f"cannot write `{path}`: no space left on device")
        written.append(path)
        write_atomic(path, write)

    monkeypatch.setattr(reports, "write_atomic", fill)
    with pytest.raises(RunFailed, match="no space left"):
        reports.write(paper, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_plots")
def test_the_points_table_reads_back_to_the_same_report(paper: Report, tmp_path: Path) -> None:
    for report in (paper, synthetic()):
        path = reports.write(report, tmp_path)["csv"]
        again = build(read_table(path))
        assert [c.law and c.law.parameters for c in again.curves] == [
            c.law and c.law.parameters for c in report.curves
        ]
        assert len(again.excluded) == len(report.excluded)


@pytest.mark.usefixtures("no_plots")
def test_early_stopped_runs_of_several_epochs_read_back_unchanged(tmp_path: Path) -> None:
    """Without their epochs they would look like a study of data scaling."""
    points = tuple(
        Point("a", x, 0.5 - 0.01 * x, seed, examples=1000 * (3 + 2 * seed), passes=3.0 + 2 * seed)
        for x in (1.0, 2.0, 4.0, 8.0)
        for seed in range(3)
    )
    report = build(PointSet(points, "logloss"))
    again = build(read_table(reports.write(report, tmp_path)["csv"]))
    assert [(p.examples, p.passes) for p in again.source.points] == [(p.examples, p.passes) for p in points]
    assert [len(curve.points) for curve in again.curves] == [12]


def test_the_points_table_quotes_names() -> None:
    points = (Point('a, "b"', 1.0, 0.5), Point('a, "b"', 2.0, 0.4))
    excluded = (Excluded("a", 3.0, "unfinished"), Excluded("a", 4.0, "diverged"))
    rows = list(
        csv.reader(io.StringIO(document.to_csv(build(PointSet(points, "logloss", excluded=excluded)))))
    )
    assert [row[:3] for row in rows[1:]] == [
        ['a, "b"', "1.0", "0.5"],
        ['a, "b"', "2.0", "0.4"],
        ["a", "4.0", "diverged"],
    ]


@pytest.mark.usefixtures("no_plots")
def test_names_with_markup_stay_text_in_markdown() -> None:
    name = "a|b `c` *d* <i>e</i> [f](g)\nh"
    points = tuple(Point(name, x, 0.5 - 0.01 * x) for x in (1.0, 2.0, 4.0, 8.0))
    text = reports.to_markdown(build(PointSet(points, "logloss", dataset="`d` | *e*")))
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    assert [part for part in ("`c`", "*d*", "<i>", "[f](g)", "a|b", "`d`", "*e*") if part in outside] == []
    assert "a&#124;b &#96;c&#96; &#42;d&#42; &#60;i&#62;e&#60;/i&#62; &#91;f&#93;(g) h" in outside
    rows = [line for line in outside.splitlines() if line.startswith("| a&#124;b")]
    assert {row.count("|") for row in rows} == {10}
    assert "**unknown**" in text


@pytest.mark.usefixtures("no_plots")
def test_the_notes_that_the_headline_names_are_a_link(paper: Report) -> None:
    assert "see the notes" in headline(paper)
    page = Page(reports.to_html(paper))
    assert "#notes" in page.links
    assert "notes" in page.ids
    assert "[see the notes](#what-the-notes-mean)" in reports.to_markdown(paper)


@pytest.mark.usefixtures("no_plots")
def test_descriptive_curves_have_no_colored_verdict(paper: Report) -> None:
    html = reports.to_html(paper)
    assert all(curve.descriptive for curve in paper.curves)
    assert not re.search(r'class="verdict (improving|plateau|rising)"', html)
