"""Warnings of many runs, grouped by code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wukongctl.training.run_record import RunWarning


@dataclass(frozen=True, slots=True)
class LabeledWarning:
    """A warning of one run; `name` is that of its curve or recipe."""

    name: str
    run: str
    warning: RunWarning


@dataclass(frozen=True, slots=True)
class WarningGroup:
    """All warnings of one code, with the message and hint of the first run."""

    code: str
    message: str
    hint: str
    names: tuple[str, ...]
    runs: tuple[str, ...]
    same_message: bool
    """Whether all runs have this message, word for word."""

    def to_dict(self) -> dict[str, Any]:
        """The entry of `warnings` in report.json."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "runs": list(self.runs)}

    def summary(self, total: int) -> str:
        """`3 of 6 runs (mlp, wukong): … [few_updates]`; the message alone when `total` is 1."""
        if total == 1:
            return f"{self.message} [{self.code}]"
        names = f" ({', '.join(self.names)})" if any(self.names) else ""
        example = "" if self.same_message else ", for example"
        return f"{len(self.runs)} of {total} runs{names}{example}: {self.message} [{self.code}]"


def group_warnings(warnings: Iterable[LabeledWarning]) -> tuple[WarningGroup, ...]:
    """One group per code, in order of first appearance."""
    groups: dict[str, list[LabeledWarning]] = {}
    for each in warnings:
        groups.setdefault(each.warning.code, []).append(each)
    return tuple(_group(members) for members in groups.values())


def _group(members: Sequence[LabeledWarning]) -> WarningGroup:
    first = members[0].warning
    names = tuple(dict.fromkeys(each.name for each in members))
    runs = tuple(dict.fromkeys(each.run for each in members))
    same = all(each.warning.message == first.message for each in members)
    return WarningGroup(first.code, first.message, first.hint, names, runs, same)
