"""Warnings of many runs: the same one is said once, with the number of runs that it concerns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wukongctl.training.warnings import RunWarning


@dataclass(frozen=True, slots=True)
class Warned:
    """One warning of one run; `name` is that of its curve or recipe."""

    name: str
    run: str
    warning: RunWarning


@dataclass(frozen=True, slots=True)
class Fold:
    """All warnings of one code. Message and hint are those of the first run."""

    code: str
    message: str
    hint: str
    names: tuple[str, ...]
    runs: tuple[str, ...]
    same: bool
    """Whether all runs have this very message."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "runs": list(self.runs)}

    def said(self, of: int) -> str:
        """`3 of 6 runs (mlp, wukong): … [few_updates]`; where there is one run, the message alone."""
        if of == 1:
            return f"{self.message} [{self.code}]"
        which = f" ({', '.join(self.names)})" if any(self.names) else ""
        like = "" if self.same else ", such as"
        return f"{len(self.runs)} of {of} runs{which}{like}: {self.message} [{self.code}]"


def fold(warned: Iterable[Warned]) -> tuple[Fold, ...]:
    """One for each code, in the order of first appearance."""
    groups: dict[str, list[Warned]] = {}
    for each in warned:
        groups.setdefault(each.warning.code, []).append(each)
    return tuple(_folded(members) for members in groups.values())


def _folded(members: Sequence[Warned]) -> Fold:
    first = members[0].warning
    names = tuple(dict.fromkeys(each.name for each in members))
    runs = tuple(dict.fromkeys(each.run for each in members))
    same = all(each.warning.message == first.message for each in members)
    return Fold(first.code, first.message, first.hint, names, runs, same)
