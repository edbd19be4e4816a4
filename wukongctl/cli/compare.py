"""`wukongctl compare`: a leaderboard of finished runs, with paired tests."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output, prose

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.leaderboard.board import Leaderboard

MOST_KEYS = 5
MARKS = {"better": "+", "worse": "-", "undecided": "="}

EXAMPLES = """\b
Examples:
  wukongctl compare runs/frappe-*
  wukongctl compare sweeps/frappe-search --against wukong --by logloss
  wukongctl compare runs --group user --by gauc
  wukongctl compare runs --markdown > leaderboard.md
"""


@click.command(epilog=EXAMPLES)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--split", type=click.Choice(["valid", "test"]), default="test", show_default=True,
    help="Split to compare on.",
)  # fmt: skip
@options.data
@click.option(
    "--by", type=options.MetricName(), default="auc", show_default=True,
    help="Metric to sort by, such as logloss or gauc.",
)  # fmt: skip
@click.option(
    "--group", metavar="COLUMN",
    help="Also compare gAUC over the values of this categorical column.",
)  # fmt: skip
@click.option("--dataset", metavar="NAME", help="Compare only the runs of this dataset.")
@click.option("--against", metavar="NAME", help="Row to compare the others with; default: the best.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@options.common
def compare(
    output: Output,
    runs: tuple[Path, ...],
    split: str,
    data: Path,
    by: str,
    group: str | None,
    dataset: str | None,
    against: str | None,
    markdown: bool,
) -> None:
    """Compare the finished runs in RUN..., run folders or folders of them, on the same held-out rows.

    Runs on different data are compared separately, one table per dataset.

    Runs that differ only in their seed share a row. The 95 % intervals cover both examples and seeds;
    verdicts (+ better, - worse, = undecided) are corrected for multiple comparisons.
    """
    from wukongctl.leaderboard.board import Request, boards, to_dict

    options.exclusive(("--json", output.as_json), ("--markdown", markdown))
    with output.progress() as bar:
        found, left_out = boards(
            runs,
            Request(data, split, by, against, group),
            dataset=dataset,
            progress=lambda done, total, name: bar.update("score", done, total, name),
        )
    for reason in left_out:
        output.note(reason)
    for run in (run for board in found for run in board.skipped):
        reason = {"diverged": "diverged", "pruned": "was pruned"}.get(run.status, "is not finished")
        output.note(f"skipped `{run.folder}`, which {reason}")
    for one in (one for board in found for one in board.repeated):
        result = "" if one.same_result else ", with a different result"
        output.note(f"skipped `{one.run}`: same recipe and seed as `{one.of}`{result}")
    content = to_dict(found[0]) if len(found) == 1 else {"datasets": [to_dict(board) for board in found]}
    output.result(content, lambda console: _print(console, found, markdown=markdown))


def _print(console: "Console", found: "tuple[Leaderboard, ...]", *, markdown: bool) -> None:
    """The leaderboards, below the names of their datasets where there are several."""
    for index, board in enumerate(found):
        if len(found) > 1:
            heading = f"## {board.dataset}\n" if markdown else board.dataset
            console.print(f"{'' if index == 0 else chr(10)}{heading}", style="bold", soft_wrap=True)
        if markdown:
            console.out(_markdown(board), highlight=False)
        else:
            _show(console, board)


def _show(console: "Console", board: "Leaderboard") -> None:
    from wukongctl.cli.tables import table

    for headings, rows in _tables(board):
        shown = table(*headings)
        for cells in rows:
            shown.add_row(*cells)
        console.print(shown)
    for name, settings in _namesakes(board):
        console.print(f"{name}: {settings}", soft_wrap=True)
    for warning, hint in _warnings(board):
        prose(console, f"! {warning}")
        prose(console, f"  hint: {hint}")
    prose(console, _legend(board))


def _markdown(board: "Leaderboard") -> str:
    parts = []
    for headings, rows in _tables(board):
        escaped = [[cell.replace("|", "&#124;").replace("<", "&lt;") for cell in cells] for cells in rows]
        lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *escaped]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    if apart := [f"- `{name}`: `{settings}`" for name, settings in _namesakes(board)]:
        parts.append("\n".join(apart))
    if warned := [f"- **!** {warning} ({hint})" for warning, hint in _warnings(board)]:
        parts.append("\n".join(warned))
    return "\n\n".join([*parts, _legend(board)])


def _tables(board: "Leaderboard") -> list[tuple[list[str], list[list[str]]]]:
    """The leaderboard and, where there is more than one recipe, the differences."""
    return [_leaders(board)] if len(board.rows) == 1 else [_leaders(board), _differences(board)]


def _leaders(board: "Leaderboard") -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the leaderboard."""
    from wukongctl.training.metrics import METRICS

    headings = [f"{board.split}, {board.rows_of_split:,} rows", "seeds", "MFLOP/ex."]
    headings += [METRICS[metric].title for metric in board.metrics]
    rows = []
    for recipe in (row.recipe for row in board.rows):
        gflop = recipe.gflop_per_example
        cells = [recipe.name, str(len(recipe.runs)), "–" if gflop is None else f"{gflop * 1e3:.4g}"]
        for metric in board.metrics:
            sd = recipe.sd(metric)
            cells.append(f"{recipe.mean(metric):.5f}" + ("" if sd is None else f" ± {sd:.5f}"))
        rows.append(cells)
    if board.warnings:
        headings.append("!")
        for cells, row in zip(rows, board.rows, strict=True):
            cells.append("!" if any(row.recipe.warnings.values()) else "")
    return headings, rows


def _differences(board: "Leaderboard") -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the differences; their intervals are symmetric."""
    from wukongctl.training.metrics import METRICS

    headings = [f"minus {board.reference}", *(f"Δ {METRICS[metric].title}" for metric in board.metrics)]
    rows = []
    for row in board.rows:
        if not row.differences:
            continue
        cells = [row.recipe.name]
        for metric, difference in row.differences.items():
            half = difference.interval()[1] - difference.value
            cells.append(f"{difference.value:+.5f} ± {half:.5f} {MARKS[row.verdict(metric)]}")
        rows.append(cells)
    return headings, rows


def _namesakes(board: "Leaderboard") -> list[tuple[str, str]]:
    """The keys that tell recipes of the same name apart, as for `--set`; at most MOST_KEYS of them."""
    namesakes = []
    for recipe in (row.recipe for row in board.rows if row.recipe.settings):
        parts = [f"{key}={json.dumps(value)}" for key, value in recipe.settings.items()]
        more = [f"and {len(parts) - MOST_KEYS} more"] if len(parts) > MOST_KEYS else []
        namesakes.append((recipe.name, ", ".join(parts[:MOST_KEYS] + more)))
    return namesakes


def _warnings(board: "Leaderboard") -> list[tuple[str, str]]:
    """The warnings of the runs, shared ones once, and their hints."""
    runs = sum(len(row.recipe.runs) for row in board.rows)
    return [(found.summary(runs), found.hint) for found in board.warnings]


def _legend(board: "Leaderboard") -> str:
    if len(board.rows) == 1:
        return "Only one recipe: nothing to compare."
    single = any(len(row.recipe.runs) == 1 for row in board.rows)
    legend = "± after Δ: half a 95 % interval; + better, - worse, = undecided at 5 % after Holm."
    note = (
        " A recipe with one seed is assumed to vary as the other one does; if both have one, the interval "
        "does not cover seeds."
    )
    return legend + (note if single else "")
