"""Write a report: HTML, Markdown, JSON, plots and points.

Output is deterministic: no dates, paths or random ids.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jinja2
from markupsafe import Markup, escape

from wukongctl.data.atomic import write_atomic
from wukongctl.errors import cannot_write
from wukongctl.laws.analysis import Report, along_other_axes
from wukongctl.laws.notes import EXPLANATIONS, explain
from wukongctl.report import evidence, numbers, wording
from wukongctl.report.checklist import checklist
from wukongctl.report.document import FILES, interval_method, stated_law, to_csv, to_json
from wukongctl.report.evidence import has_joint_law, is_dots
from wukongctl.report.headline import NOTES, headline
from wukongctl.report.job_summary import benchmark, chart_order, mermaid, truncate
from wukongctl.report.palette import COLORS, DARK_COLORS

if TYPE_CHECKING:
    from wukongctl.report.canvas import Width

MARKDOWN = str.maketrans({char: f"&#{ord(char)};" for char in "&<>|`*[]$"} | {"\n": " "})
"""Characters that could start markup, as character references."""
OUTER_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore at the end of a word, which starts or ends emphasis; those inside do not."""


def to_markdown(report: Report, *, pictures: bool = True, dashboard: str | None = None) -> str:
    """The report in Markdown for a pull request; for a job summary without the link to the plot."""
    template = environment(finalize=_escaped).get_template("report.md.jinja")
    text = template.render(
        **_context(report), linked=_linked_markdown, pictures=pictures, dashboard=dashboard
    )
    return truncate(text)


def _escaped(value: Any) -> Any:
    """Escape HTML, emphasis, links and table cells in Markdown, as names can contain any characters."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return OUTER_UNDERSCORE.sub("&#95;", value.translate(MARKDOWN))


def _linked_markdown(sentence: str) -> Markup:
    return Markup(_escaped(sentence).replace(NOTES, f"[{NOTES}](#what-the-notes-mean)"))


def _linked_html(sentence: str) -> Markup:
    return Markup(str(escape(sentence)).replace(NOTES, f'<a href="#notes">{NOTES}</a>'))


def to_html(report: Report, *, dashboard: str | None = None) -> str:
    """A self-contained HTML page with embedded plots, style and script.

    Runs link to `dashboard`, the address of a page of `wukongctl dashboard`.
    """
    along = _along(report)
    wide = {name: draw("wide") for name, draw in _pictures(report, along).items()}
    return _html(report, along, wide, dashboard)


def _along(report: Report) -> dict[str, Report]:
    """The reports whose curves are plotted: `report` as `scaling`, others by the name of their axis.

    In a study of data, where every curve over size is a single dot, `scaling` is over data, too.
    """
    others = {shifted.source.axis.name: shifted for shifted in along_other_axes(report)}
    main = others.get("data") if report.is_data_study else None
    return {"scaling": main or report, **others}


def _pictures(report: Report, along: dict[str, Report]) -> dict[str, Callable[["Width"], str]]:
    """Name → what draws the picture as SVG, wide or narrow.

    Where size and data were varied together, so that no curve over size has three sizes at one amount of
    data, `scaling` is the picture of both.
    """
    from wukongctl.report import plots

    found: dict[str, Callable[[Width], str]] = {
        name: lambda width, shown=shown: plots.scaling_svg(shown, width=width)
        for name, shown in along.items()
    }
    if has_joint_law(report):
        found["joint"] = lambda width: plots.joint_svg(report, width=width)
        if is_dots(report):
            found["scaling"] = found["joint"]
    return found


def _html(report: Report, along: dict[str, Report], wide: dict[str, str], dashboard: str | None) -> str:
    """The page of a report, of which the wide plot along each axis is drawn already."""
    from wukongctl.report import canvas, inline, plots

    drawn = {("diagnostics", width): plots.diagnostics_svg(report, width=width) for width in canvas.WIDTHS}
    for name, draw in _pictures(report, along).items():
        if name != "scaling" or "joint" not in wide or not is_dots(report):
            drawn[name, "wide"] = wide[name]
            drawn[name, "narrow"] = draw("narrow")
    labels = {
        "scaling": f"Loss against {report.source.axis.name}{report.source.axis.per}, one curve per model",
        "joint": "Loss against size and data, with the joint law",
        "diagnostics": f"Residuals, and predictions of the held-out {report.source.axis.largest}",
    }
    figures = {
        f"{name}_{width}": inline.embed(
            svg, prefix=f"{name[0]}{width[0]}-", label=labels.get(name, f"Loss against {name}")
        )
        for (name, width), svg in drawn.items()
    }
    palette = list(zip(COLORS, DARK_COLORS, strict=True))
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            **_context(report),
            linked=_linked_html,
            figures=figures,
            palette=palette,
            dashboard=dashboard,
            runs_at=lambda names: (
                f"{dashboard}#{urlencode([('run', name) for name in dict.fromkeys(names)])}"
            ),
            runs_of=_runs_of(report),
        )
    )


def _runs_of(report: Report) -> dict[tuple[str, float], list[str]]:
    """Curve and x → names of the runs there, in a table of points none."""
    found: dict[tuple[str, float], list[str]] = {}
    for curve in report.curves:
        for point in curve.points:
            found.setdefault((curve.name, point.x), []).extend([point.run] if point.run else [])
    return found


def write(report: Report, out_dir: Path, *, dashboard: str | None = None) -> dict[str, Path]:
    """Write the files of the report, all or none; return their paths by kind.

    The pages link to `dashboard`, see `to_html`.

    Raises RunFailed when the disk is full, UsageError when the folder cannot be written.
    """
    from wukongctl.report import plots

    along = _along(report)
    wide = {name: draw("wide") for name, draw in _pictures(report, along).items()}
    drawn: dict[str, bytes] = {}
    for name, picture in wide.items():
        prefix = "" if name == "scaling" else f"{name}_"
        drawn[f"{prefix}svg"] = picture.encode()
        both = name == "joint" or (name == "scaling" and is_dots(report))
        drawn[f"{prefix}png"] = plots.joint_png(report) if both else plots.scaling_png(along[name])
    contents = {
        "html": _html(report, along, wide, dashboard).encode(),
        "md": to_markdown(report, dashboard=dashboard).encode(),
        **drawn,
        "csv": to_csv(report).encode(),
        "benchmark": (json.dumps(benchmark(report), indent=2, ensure_ascii=False) + "\n").encode(),
        "json": to_json(report).encode(),
    }
    _write_together(out_dir, {FILES[kind]: content for kind, content in contents.items()})
    return {kind: out_dir / FILES[kind] for kind in contents}


def _write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all files to a temporary folder, then move them, so that a full disk leaves no partial report."""
    draft = folder / f".report.{os.getpid()}.tmp"
    try:
        draft.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_atomic(draft / name, lambda file, content=content: file.write(content))
        for name in contents:
            (draft / name).replace(folder / name)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def environment(finalize: Callable[[Any], Any] | None = None) -> jinja2.Environment:
    """The template environment with the filters of `wording`; undefined names are errors."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wukongctl.report"),
        autoescape=jinja2.select_autoescape(enabled_extensions=("html.jinja",), default=False),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=numbers.number, interval=numbers.interval)
    return environment


def _context(report: Report) -> dict[str, Any]:
    curves = () if report.is_data_study else report.curves
    analyses, axes = evidence.analyses(report), evidence.axes_of(report)
    used = {code for curve in (*curves, *report.data_laws) for code in curve.notes}
    return {
        "report": report,
        "source": report.source,
        "unit": report.unit,
        "at": numbers.compute,
        "axis": report.source.axis,
        "ends": " or ".join(one.end for one in axes),
        "places": " or ".join(one.places for one in axes),
        "names": " or ".join(one.name for one in axes),
        "total": evidence.total_unit(report),
        "x_title": report.source.axis.titled(report.unit),
        "metric_name": report.source.measure.described,
        "is_dots": is_dots(report),
        "headline": headline(report),
        "sentences": {curve.name: list(wording.sentences(curve, report)) for curve in report.curves},
        "warnings": report.warnings(),
        "curve_warnings": {curve.name: report.warnings(curve.name) for curve in report.curves},
        "matches": wording.matches(report),
        "match_sentence": wording.match_sentence,
        "verdicts": wording.verdicts(report.source.axis),
        "data_verdicts": wording.verdicts(report.source.data),
        "analyses": analyses,
        "tested": list(evidence.tested(report)),
        "inside": evidence.inside,
        "exponent": wording.exponent,
        "value": wording.value,
        "limits": wording.limits,
        "contest_sentence": evidence.contest_sentence,
        "sensitivity": evidence.sensitivity,
        "checklist": checklist(report),
        "joint_sentences": evidence.joint_sentences,
        "interval_method": interval_method(report),
        "descriptive": wording.descriptive(axes) if any(one.descriptive for _, one in analyses) else None,
        "explanations": {code: explain(code, axes) for code in EXPLANATIONS if code in used},
        "files": FILES,
        "chart": mermaid(report),
        "chart_order": chart_order(report),
        "stated": [stated_law(law, report) for law in report.stated],
        "open_findings": sorted(
            (finding for finding in report.findings if finding.verdict != "pass"),
            key=lambda finding: finding.verdict != "fail",
        ),
        "passed_findings": [finding for finding in report.findings if finding.verdict == "pass"],
    }
