"""A saved report, or the runs of another commit, as the baseline of a new report."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from wukongctl.config.report import LossMetric
from wukongctl.errors import UsageError
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.axis import COMPUTE, of_key
from wukongctl.laws.measure import shortfall
from wukongctl.laws.points import FIELD_KEYS, Excluded, Point, PointSet
from wukongctl.laws.run_points import read_runs
from wukongctl.runs.datasets import by_dataset
from wukongctl.runs.folders import RunRecord, run_folders

COMPARED_FIELDS = ("metric", "split", "dataset", "fingerprint", "convention")


def read_baseline(path: Path, report: Report) -> Report:
    """The report in `path` (a report.json, or a folder of runs), built as `report` was.

    Raises UsageError when it cannot be read or is not comparable.
    """
    source = report.source
    if path.is_dir() and not (path / "report.json").is_file():
        metric = next((name for name in get_args(LossMetric) if name == source.metric), None)
        several = len(by_dataset([RunRecord.read(folder) for folder in run_folders([path])])) > 1
        dataset = source.dataset if several else None
        saved, form = read_runs([path], split=source.split, metric=metric, dataset=dataset), None
    else:
        saved, form = _from_json(path / "report.json" if path.is_dir() else path)
    require_comparable(f"the baseline `{path}`", saved, source)
    curves = {curve.form.name for curve in report.curves}
    form = form or (curves.pop() if len(curves) == 1 else None)
    return build(saved, form=form, floor=None, level=report.level, thorough=False)


def is_baseline(path: Path) -> bool:
    """Whether `path` is a folder or a saved report, rather than a file of gates."""
    if path.is_dir():
        return True
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and {"format_version", "curves"} <= data.keys()


def _from_json(path: Path) -> tuple[PointSet, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        key, y = data.get("x", {}).get("key", COMPUTE.key), data.get("y") or {}
        points = tuple(_restore(Point, point, key) for curve in data["curves"] for point in curve["points"])
        excluded = tuple(_restore(Excluded, run, key) for run in data["excluded"])
        source = PointSet(
            points=points,
            excluded=excluded,
            bayes_logloss=data["bayes_logloss"],
            floor=data["floor"],
            axis=of_key(key),
            shortfall=shortfall(y["column"], y["best"]) if y.get("column") else None,
            **{name: data[name] for name in COMPARED_FIELDS},
        )
        return source, data["curves"][0]["form"]
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise UsageError(
            f"cannot read `{path}`: {reason}", hint="pass a report.json or a folder of runs"
        ) from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise UsageError(
            f"`{path}` is not a report written by `wukongctl scale-report`",
            hint="write one with `wukongctl scale-report RUN… --out DIR`; it is DIR/report.json",
        ) from error


def _restore(kind: Callable[..., Any], values: dict[str, Any], x: str) -> Any:
    """A dataclass from its dictionary, where `x` is named so; keys added by newer versions are ignored."""
    names = (field.name for field in fields(kind))  # type: ignore[arg-type]
    keys = {name: (FIELD_KEYS | {"x": x}).get(name, name) for name in names}
    return kind(**{name: values[key] for name, key in keys.items() if key in values})


def require_comparable(what: str, other: PointSet, source: PointSet) -> None:
    """Raise UsageError unless `what`, the runs of `other`, measures the same as `source`."""
    if other.axis.key != source.axis.key:
        raise UsageError(
            f"{what} is over {other.axis.name}, these runs are over {source.axis.name}",
            hint="compare losses over the same axis",
        )
    for name in COMPARED_FIELDS:
        old, new = getattr(other, name), getattr(source, name)
        if old != new and (name == "metric" or (old is not None and new is not None)):
            raise UsageError(
                f"{what} has {name} `{old}`, these runs have `{new}`",
                hint="compare with runs of the same data, split, metric and FLOP convention",
            )
