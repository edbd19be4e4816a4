"""A sweep file → its entries, each with complete recipes, or every problem with `file:line:column`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wukongctl.config import library
from wukongctl.config.completion import LookUp, complete
from wukongctl.config.loading import Override, read, validate
from wukongctl.config.positions import Document, KeyPath, Position
from wukongctl.config.sweep import Ladder, Search, Setting, SweepSpec
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import Problem, RecipeError, UsageError


@dataclass(frozen=True)
class Trial:
    """One setting of a search and the recipe it makes, with the seed of the search.

    `base`, changed by `overrides`, is what the recipe was made from.
    """

    setting: Setting
    recipe: TrainingSpec
    base: Path
    overrides: tuple[str | Override, ...]


@dataclass(frozen=True)
class Entry:
    """One size of one ladder at one share of the data; without a search it has a single trial.

    `base` is the name of the entry of the first size, whose setting this one takes instead of searching.
    """

    name: str
    curve: str
    fraction: float
    search: Search | None
    trials: tuple[Trial, ...]
    base: str | None = None


def expand(
    path: Path, overrides: tuple[str, ...] = (), look_up: LookUp = lambda _: None
) -> tuple[SweepSpec, tuple[Entry, ...]]:
    """Read a sweep file and check every recipe it makes; raises RecipeError with all problems.

    `look_up` gives the facts of the datasets that are prepared, for what recipes leave open.
    """
    document = read(path)
    spec = validate(document, SweepSpec, overrides)
    expander = _Expander(document, spec, path.parent, look_up)
    entries = tuple(expander.entries())
    if expander.problems:
        ordered = sorted(dict.fromkeys(expander.problems), key=lambda p: (p.file, p.line, p.column))
        raise RecipeError(ordered)
    return spec, entries


class _Expander:
    def __init__(self, document: Document, spec: SweepSpec, folder: Path, look_up: LookUp) -> None:
        self.document, self.spec, self.folder, self.look_up = document, spec, folder, look_up
        self.problems: list[Problem] = []
        self.names: set[str] = set()

    def entries(self) -> Iterator[Entry]:
        for number, ladder in enumerate(self.spec.ladders):
            base = self._base(number, ladder)
            if base is None:
                continue
            seen: dict[tuple[str, ...], int] = {}
            for size in range(len(ladder.sizes)):
                trials = self._trials(base, number, size)
                self._require_new(trials, number, size, seen)
                for fraction in self.spec.fractions if trials else ():
                    yield self._entry(number, size, fraction, trials)

    def _base(self, number: int, ladder: Ladder) -> Document | None:
        beside = self.folder / ladder.recipe
        try:
            return read(beside if beside.is_file() else library.find(ladder.recipe))
        except UsageError as error:
            self._complain(error, ("ladders", number, "recipe"))
            return None

    def _complain(self, error: UsageError, at: KeyPath) -> None:
        self.problems.append(self.document.problem(error.message, at, hint=error.hint))

    def _trials(self, base: Document, number: int, size: int) -> tuple[Trial, ...]:
        ladder = self.spec.ladders[number]
        search = ladder.search or self.spec.search
        at: KeyPath = ("ladders", number, "search") if ladder.search else ("search",)
        common = [
            *self._overrides(self.spec.set, ("set",)),
            *self._overrides(ladder.set, ("ladders", number, "set")),
            *self._overrides(ladder.sizes[size], ("ladders", number, "sizes", size)),
        ]
        made: list[Trial] = []
        for index, setting in enumerate(search.trials if search else ({},)):
            inside = ("grid",) if search and search.grid else ("settings", index)
            overrides = [*common, *self._overrides(setting, (*at, *inside))]
            if search:
                overrides.append(Override("seed", search.seed, self._place((*at, "seed"))))
            try:
                recipe = complete(base, self.look_up, overrides)
                made.append(Trial(setting, recipe, Path(base.file), tuple(overrides)))
            except RecipeError as error:
                self.problems += error.problems
        if len({trial.recipe.digest() for trial in made}) < len(made):
            self.problems.append(self.document.problem("two settings of the search make the same recipe", at))
        return tuple(made)

    def _require_new(
        self, trials: tuple[Trial, ...], number: int, size: int, seen: dict[tuple[str, ...], int]
    ) -> None:
        """Complain of a size that trains what an earlier one of its ladder does."""
        first = seen.setdefault(tuple(trial.recipe.digest() for trial in trials), size)
        if trials and first != size:
            message = f"size {size + 1} makes the same recipe as size {first + 1}"
            self.problems.append(self.document.problem(message, ("ladders", number, "sizes", size)))

    def _overrides(self, setting: Setting, at: KeyPath) -> Iterable[Override]:
        return [Override(key, value, self._place((*at, key))) for key, value in setting.items()]

    def _place(self, path: KeyPath) -> Position:
        """Where a key is written, or its nearest parent."""
        problem = self.document.problem("", path, at_key=True)
        return problem.file, problem.line, problem.column

    def _entry(self, number: int, size: int, fraction: float, trials: tuple[Trial, ...]) -> Entry:
        ladder = self.spec.ladders[number]
        curve = ladder.name or trials[0].recipe.curve_name
        name = self._name(ladder, size, fraction, trials)
        if name in self.names:
            message = f"two entries would be called `{name}`"
            problem = self.document.problem(message, ("ladders", number), hint="give one of them a `name`")
            self.problems.append(problem)
        self.names.add(name)
        named = tuple(
            replace(trial, recipe=trial.recipe.model_copy(update={"name": name, "curve": curve}))
            for trial in trials
        )
        base = self._name(ladder, 0, fraction, trials) if self.spec.scale_rates and size else None
        return Entry(name, curve, fraction, ladder.search or self.spec.search, named, base)

    def _name(self, ladder: Ladder, size: int, fraction: float, trials: tuple[Trial, ...]) -> str:
        name = ladder.name or trials[0].recipe.model.name
        name += f"-{size + 1}" if len(ladder.sizes) > 1 else ""
        return name + (f"-{fraction:g}" if len(self.spec.fractions) > 1 else "")
