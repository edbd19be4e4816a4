"""A/A runs, two sets that differ in nothing but chance → the noise, and a margin a gate can hold."""

import io
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from scipy import optimize, stats

from wukongctl.errors import UsageError
from wukongctl.gates.checks import AA_SDS, SMALLEST_MARGIN
from wukongctl.gates.paired import LossDifference, differences
from wukongctl.laws.points import Metric, PointSet

POWER = 0.95
MULTIPLES = (0.0, 1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the A/A runs say about a later comparison of as many runs.

    `sd` is of the difference of two single runs, with `df`; `power` lists the chance that gate G2 fails when
    one configuration is worse by a multiple of `margin`, all tests corrected.
    """

    metric: Metric
    configurations: int
    runs: int
    sd: float
    df: int
    margin: float
    power: tuple[tuple[float, float], ...]


def calibrate(a: PointSet, b: PointSet, *, level: float = 0.95) -> Calibration:
    """Measure the noise between two sets of runs of the same configurations.

    The margin is the largest of what is worth noticing, 2 sd, and the smallest at which a regression of twice
    the margin in one configuration is found with 95 % probability. Raises UsageError without common
    configurations, or when nothing differs.
    """
    _refuse_shared(a, b)
    found = differences(a.points, b.points)
    if not found:
        raise UsageError(
            "the two sets have no configuration in common", hint="calibrate with two sets of the same ladder"
        )
    # Nothing but chance differs: the true mean is zero, so it costs no degree of freedom.
    squares = sum(one.squares + one.mean**2 / one.scale for one in found)
    df = sum(one.df + 1 for one in found)
    sd = float(np.sqrt(squares / df))
    if sd == 0:
        raise UsageError("the losses do not differ at all", hint="give the second set other seeds")
    error, later = sd * max(one.scale for one in found) ** 0.5, df + sum(one.df for one in found)
    critical = float(stats.t.ppf(1 - (1 - level) / len(found), later))
    margin = _rounded_up(max(SMALLEST_MARGIN[a.metric], AA_SDS * sd, _reach(critical, later) * error))
    chances = (float(stats.nct.sf(critical, later, (k - 1) * margin / error)) for k in MULTIPLES)
    return Calibration(
        metric=a.metric,
        configurations=len(found),
        runs=_runs(found),
        sd=sd,
        df=df,
        margin=margin,
        power=tuple(zip(MULTIPLES, chances, strict=True)),
    )


def _refuse_shared(a: PointSet, b: PointSet) -> None:
    """Raise when a run is in both sets: what is compared with itself shows no noise."""
    known = {replace(point, run=None) for point in a.points if point.seed is not None}
    shared = sum(replace(point, run=None) in known for point in b.points)
    if shared:
        runs = "1 run is" if shared == 1 else f"{shared} runs are"
        raise UsageError(
            f"{runs} in both sets, with the same seed and the same loss, which would hide the noise",
            hint="give the second set other seeds",
        )


def _reach(critical: float, df: int) -> float:
    """Standard errors a regression must lie above the margin to be found with the wanted power."""
    found = optimize.root_scalar(lambda ncp: stats.nct.sf(critical, df, ncp) - POWER, bracket=(0.0, 50.0))
    return float(found.root)


def _runs(found: tuple[LossDifference, ...]) -> int:
    """Runs per configuration and set, of the poorest one."""
    return round(1 / max(one.scale for one in found))


def _rounded_up(value: float) -> float:
    """Two significant digits, upwards: a margin is a decision, not a measurement."""
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / step - 1e-9) * step:.2g}")


def to_page(found: Calibration) -> str:
    """A page for `--check` with the gates the noise supports."""
    page = {
        "noise": {"sd": found.sd, "df": found.df},
        "gates": {"cost": True, "quality": {"margin": found.margin}},
    }
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False
    yaml.dump(page, text)
    chances = ", ".join(f"{chance:.1%} at {multiple:g}x" for multiple, chance in found.power)
    return (
        f"# Margins from A/A runs: {found.configurations} configurations, {found.runs} runs each.\n"
        f"# Chance that gate G2 fails for one configuration that is worse by a multiple of the margin:\n"
        f"# {chances}.\n{text.getvalue()}"
    )


def to_dict(found: Calibration) -> dict[str, Any]:
    """The JSON object of `scale-report --calibrate`."""
    chances = [{"multiple": multiple, "chance": chance} for multiple, chance in found.power]
    return {**asdict(found), "power": chances}
