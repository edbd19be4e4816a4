"""Datasets whose rows are taken as the generator draws them (`stream`, `declared`), and what they need."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wukongctl.config.generator import Generator
from wukongctl.config.spec import Mistake

ROWS = "SELECT * FROM synthetic"


def obstacles(recipe: Mapping[str, Any]) -> Iterator[Mistake]:
    """What keys of a dataset recipe make something else of the rows that its generator draws."""
    rows, split, probability = recipe["rows"], recipe["split"], recipe["probability"]
    if rows is None or " ".join(rows.rstrip("; \n").split()).lower() != ROWS.lower():
        yield Mistake(f"rows taken as generated need `rows: {ROWS}`", ("rows",))
    if split is None or split.by != "order":
        yield Mistake("rows taken as generated need `split.by: order`", ("split",))
    if recipe["label"] != "label":
        yield Mistake("rows taken as generated need `label: label`", ("label",))
    if probability not in (None, "p"):
        yield Mistake("rows taken as generated need `probability: p`", ("probability",))
    if recipe["shuffle"] is not None:
        yield Mistake("rows taken as generated are not shuffled", ("shuffle",))
    if recipe["compat"] is not None:
        yield Mistake("rows taken as generated have no `compat`", ("compat",))
    if recipe["expect"]:
        yield Mistake("generated rows are not counted", ("expect",))
    yield from _features(recipe["generator"], recipe["features"])


def _features(generator: Generator, groups: Sequence[Any]) -> Iterator[Mistake]:
    """Features that are not columns of the generator, or whose encoding depends on counts."""
    for index, group in enumerate(groups):
        where = ("features", index)
        for position, name in enumerate(group.columns):
            wanted = "numeric" if name.startswith("n") else "categorical"
            if name not in generator.columns:
                what = f"`{name}` is not a column of the generator"
                yield Mistake(what, (*where, "columns", position))
            elif group.type != wanted:
                yield Mistake(f"`{name}` is {wanted}", (*where, "type"))
        if group.type != "numeric" and group.min_count > 1:
            yield Mistake("generated values are not counted", (*where, "min_count"))
        if group.type != "numeric" and group.pretrained is not None:
            yield Mistake("generated values have no vectors", (*where, "pretrained"))
