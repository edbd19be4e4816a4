"""The formats of recipes: which one a file means to be, and the command that takes it."""

from typing import NamedTuple

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.report import ReportSpec
from wukongctl.config.spec import Spec
from wukongctl.config.sweep import SweepSpec
from wukongctl.config.training import TrainingSpec


class Format(NamedTuple):
    """One format, what a file of it is called, and what takes it."""

    spec: type[Spec]
    title: str
    command: str
    marks: frozenset[str]
    """Top-level keys that no other format has."""


FORMATS = {
    "training": Format(TrainingSpec, "training recipe", "train", frozenset({"model"})),
    "dataset": Format(DatasetSpec, "dataset recipe", "prepare", frozenset({"features", "files"})),
    "sweep": Format(SweepSpec, "sweep file", "sweep", frozenset({"ladders"})),
    "report": Format(
        ReportSpec, "report recipe", "scale-report runs/ --check", frozenset({"gates", "noise", "stated"})
    ),
}


def format_of(keys: set[str]) -> type[Spec]:
    """Which format a file with these top-level keys means to be; a training recipe where nothing tells."""
    return next((each.spec for each in FORMATS.values() if each.marks & keys), TrainingSpec)


def instead_of(spec: type[Spec], keys: set[str]) -> tuple[str, Format, Format] | None:
    """The key that marks a file as of another format than `spec`, the format wanted, and that other one."""
    wanted = next((each for each in FORMATS.values() if each.spec is spec), None)
    if wanted is None or wanted.marks & keys:
        return None
    return next(((key, wanted, each) for each in FORMATS.values() for key in sorted(each.marks & keys)), None)
