"""Tables that several commands print."""

from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

METRICS = {
    "rows": ("rows", "{:,}"),
    "auc": ("AUC", "{:.5f}"),
    "logloss": ("LogLoss", "{:.5f}"),
    "excess_logloss": ("excess LogLoss", "{:.5f}"),
    "normalized_entropy": ("norm. entropy", "{:.4f}"),
    "calibration": ("calibration", "{:.4f}"),
}


class _Table(Table):
    """Names are for copying: they keep their line, and the rest makes room, unless they take half of it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names = self.columns[0]
        names.no_wrap = (
            max(cell_len(str(name)) for name in (names.header, *names.cells)) * 2 < options.max_width
        )
        yield from super().__rich_console__(console, options)


def table(*headings: str) -> Table:
    """A plain table: the first column left, the others right."""
    made = _Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, heading in enumerate(headings):
        made.add_column(heading, justify="left" if index == 0 else "right", overflow="fold")
    return made


def metrics_table(metrics: dict[str, dict[str, Any]]) -> Table:
    """One row per split, only columns that some split has."""
    present = [key for key in METRICS if any(key in values for values in metrics.values())]
    made = table("split", *(METRICS[key][0] for key in present))
    for split, values in metrics.items():
        cells = (METRICS[key][1].format(values[key]) if key in values else "–" for key in present)
        made.add_row(split, *cells)
    return made


def mean_and_sd(cell: dict[str, Any] | None) -> str:
    """`{"mean": …, "sd": …}` as text; a dash for what was not measured."""
    if cell is None:
        return "–"
    return f"{cell['mean']:.5f}" + ("" if cell["sd"] is None else f" ± {cell['sd']:.5f}")


def phases_table(found: dict[str, Any]) -> Table:
    """One row per phase of a training step, for the whole measurement."""
    made = table("phase", "CPU seconds", "seconds", "share of CPU")
    for phase in found["phases"]:
        cells = (f"{phase['cpu_seconds']:.3f}", f"{phase['seconds']:.3f}", f"{phase['share']:.1%}")
        made.add_row(phase["phase"], *cells)
    return made
