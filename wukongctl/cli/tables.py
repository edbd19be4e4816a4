"""Tables that several commands print."""

from collections.abc import Callable
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table


class _Table(Table):
    """Keeps names on one line, for copying, unless they take half of the width, and breaks no number.

    Where it is tight, columns move together.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names, *others = self.columns
        names.no_wrap = _longest(names, str.splitlines) * 2 < options.max_width
        words = [_longest(names, str.splitlines), *(_longest(column, str.split) for column in others)]
        if sum(words) + 2 * len(words) + 1 > options.max_width:
            self.padding = (0, 0, 0, 0)
        if sum(words) + len(words) + 1 <= options.max_width:
            for column, width in zip(others, words[1:], strict=True):
                column.min_width = width if column.justify == "right" else None
        yield from super().__rich_console__(console, options)


def _longest(column: Column, parts: Callable[[str], list[str]]) -> int:
    """Width of the widest part of a column's texts."""
    texts = (str(text) for text in (column.header, *column.cells))
    return max((cell_len(part) for text in texts for part in parts(text)), default=0)


def table(*headings: str) -> Table:
    """A plain table: the first column left, the others right."""
    shown = _Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, heading in enumerate(headings):
        shown.add_column(heading, justify="left" if index == 0 else "right", overflow="fold")
    return shown


def metrics_table(metrics: dict[str, dict[str, Any]]) -> Table:
    """One row per split, with the metrics that any split has."""
    from wukongctl.training.metrics import COMPARED, METRICS

    ordered = dict.fromkeys((*COMPARED, *METRICS.values()))
    present = [metric for metric in ordered if any(metric.name in values for values in metrics.values())]
    shown = table("split", "rows", *(metric.title for metric in present))
    for split, values in metrics.items():
        cells = (metric.text(values[metric.name]) if metric.name in values else "–" for metric in present)
        shown.add_row(split, f"{values['rows']:,}" if "rows" in values else "–", *cells)
    return shown


def mean_and_sd(cell: dict[str, Any] | None) -> str:
    """`{"mean": …, "sd": …}` as text; a dash if not measured."""
    if cell is None:
        return "–"
    return f"{cell['mean']:.5f}" + ("" if cell["sd"] is None else f" ± {cell['sd']:.5f}")


def phases_table(found: dict[str, Any]) -> Table:
    """One row per phase of a training step, summed over the measurement."""
    on_cpu = "cpu_seconds" in found
    shown = table("phase", *(["CPU-seconds"] if on_cpu else []), "seconds", "share")
    for phase in found["phases"]:
        times = [f"{phase[key]:.3f}" for key in ("cpu_seconds", "seconds") if key in phase]
        shown.add_row(phase["phase"], *times, f"{phase['share']:.1%}")
    return shown
