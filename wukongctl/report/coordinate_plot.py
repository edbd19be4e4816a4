"""The picture of a coordinate check: outputs of each layer, and their change, against the width."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import style
from matplotlib.figure import Figure

from wukongctl.data.atomic import write_atomic
from wukongctl.report.axes import log_ticks
from wukongctl.report.canvas import GRID, MARKERS, STYLE
from wukongctl.report.palette import COLORS
from wukongctl.training.coordinates import LayerScales

CREATOR = "wukongctl coord-check"
"""In the metadata of a plot, from which `coord-check` knows that it may replace it."""


def draw(path: Path, title: str, widths: Sequence[int], layers: Sequence[LayerScales]) -> None:
    """Write two panels side by side, in the format of the suffix; unstable layers are dashed."""
    mpl.use("agg")
    with style.context(STYLE):
        figure = Figure(figsize=(10, 5), layout="constrained")
        panels = figure.subplots(1, 2)
        for panel, heading in zip(
            panels, ("outputs after training", "their change by training"), strict=True
        ):
            panel.set(xscale="log", yscale="log", xlabel="embedding width", title=heading)
            panel.grid(color=GRID, linewidth=0.6)
            panel.set_xticks(widths, [str(width) for width in widths], minor=False)
            panel.minorticks_off()
        for place, layer in enumerate(layers):
            look = {
                "color": COLORS[place % len(COLORS)],
                "marker": MARKERS[place // len(COLORS) % len(MARKERS)],
                "linestyle": "-" if layer.verdict == "stable" else "--",
                "label": f"{layer.layer} {layer.update_slope:+.2f}",
            }
            for panel, scales in zip(panels, (layer.activations, layer.updates), strict=True):
                panel.plot(widths, scales, **look)
        for panel in panels:
            log_ticks(panel, "y")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=8, title="slope of the change")
        figure.suptitle(title)
        kind = path.suffix.removeprefix(".")
        write_atomic(
            path, lambda file: figure.savefig(file, format=kind, dpi=120, metadata={"Creator": CREATOR})
        )
