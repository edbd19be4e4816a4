"""The columns of a dataset by its name: from its manifest if it is prepared, else from its recipe."""

from dataclasses import dataclass
from pathlib import Path

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.data import manifest as manifests
from wukongctl.data import next_steps
from wukongctl.data.schema import Schema, schema_from_recipe


@dataclass(frozen=True)
class KnownColumns:
    """The columns of a dataset, and what is known of their embedding tables."""

    schema: Schema
    rows_known: bool
    """Whether the rows of all tables are known."""
    bounded: tuple[str, ...] = ()
    """Features whose number of bins is only bounded, each with the bound."""


def known_columns(name: str, data: Path) -> KnownColumns:
    """The columns of dataset `name`, prepared in `data` or not; raises UsageError if there is no recipe."""
    if next_steps.is_prepared(name, data):
        return KnownColumns(manifests.read(data / name).schema(), rows_known=True)
    dataset = load(next_steps.recipe_of(name), DatasetSpec)
    known = dataset.cardinalities
    cut = {name: group.bins for name, group in dataset.numeric if group.is_cut and name not in known}
    counted = {*dataset.categorical, *(name for name, group in dataset.numeric if group.encoding == "log2")}
    bounded = tuple(f"`{name}` ({most})" for name, most in cut.items())
    return KnownColumns(schema_from_recipe(dataset), counted <= known.keys(), bounded)
