"""The formats of recipes: which one a file means to be, and the command that takes it.

The models of a format are imported when they are used: a command reads one format, seldom two.
"""

from importlib import import_module
from typing import Literal, NamedTuple, TypeAlias

from wukongctl.config.spec import Spec

FormatName: TypeAlias = Literal["training", "dataset", "sweep", "report"]
"""Also the module of `wukongctl.config` that defines the format."""


class Format(NamedTuple):
    """One format, what a file of it is called, and what takes it."""

    name: FormatName
    model: str
    """Class of the whole recipe in the module of this name."""
    title: str
    command: str
    marks: frozenset[str]
    """Top-level keys that no other format has."""

    @property
    def spec(self) -> type[Spec]:
        """The model of the whole recipe."""
        return getattr(import_module(f"wukongctl.config.{self.name}"), self.model)


FORMATS: dict[FormatName, Format] = {
    each.name: each
    for each in (
        Format("training", "TrainingSpec", "training recipe", "train", frozenset({"model"})),
        Format("dataset", "DatasetSpec", "dataset recipe", "prepare", frozenset({"features", "files"})),
        Format("sweep", "SweepSpec", "sweep file", "sweep", frozenset({"ladders"})),
        Format(
            "report", "ReportSpec", "report recipe", "scale-report runs/ --check",
            frozenset({"gates", "noise", "stated"}),
        ),
    )
}  # fmt: skip


def format_of(keys: set[str]) -> Format:
    """Which format a file with these top-level keys means to be; a training recipe where nothing tells."""
    return next((each for each in FORMATS.values() if each.marks & keys), FORMATS["training"])


def instead_of(spec: type[Spec], keys: set[str]) -> tuple[str, Format, Format] | None:
    """The key that marks a file as of another format than `spec`, the format wanted, and that other one."""
    wanted = next((each for each in FORMATS.values() if each.model == spec.__name__), None)
    if wanted is None or wanted.marks & keys:
        return None
    return next(((key, wanted, each) for each in FORMATS.values() for key in sorted(each.marks & keys)), None)
