"""`wukongctl datasets`: list and show datasets, draft recipes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output, first_sentence

if TYPE_CHECKING:
    from rich.console import Console


SHOW_EXAMPLES = """\b
Examples:
  wukongctl datasets show frappe
  wukongctl datasets show clicks --data /data/prepared --json
"""
INIT_EXAMPLES = """\b
Examples:
  wukongctl datasets init clicks.csv > clicks.yaml
  wukongctl datasets init "logs/part-*.parquet" --label purchased --name shop > shop.yaml
  wukongctl datasets init stays.csv --label readmitted --positive "<30" > stays.yaml
  wukongctl datasets init events.csv --join users.csv:user_id --join items.parquet:item=id > events.yaml
"""


@click.group()
def datasets() -> None:
    """Datasets are YAML recipes; `wukongctl prepare` turns them into Parquet."""


@datasets.command("ls")
@options.data
@options.common
def ls(output: Output, data: Path) -> None:
    """List the shipped datasets and those prepared in `--data`."""
    from wukongctl.config import library
    from wukongctl.data import next_steps

    shipped = library.names("datasets")
    found = [_entry(name, data, is_shipped=True) for name in shipped]
    own = [name for name in next_steps.prepared(data) if name not in shipped]
    found += [_entry(name, data, is_shipped=False) for name in own]

    def human(console: "Console") -> None:
        from wukongctl.cli.tables import table

        shown = table("dataset", "prepared", "rows", "")
        shown.columns[3].justify = "left"
        for entry in found:
            rows = "–" if entry["rows"] is None else f"{entry['rows']:,}"
            text = entry["problem"] or first_sentence(entry["description"])
            shown.add_row(entry["name"], "yes" if entry["prepared"] else "–", rows, text)
        console.print(shown)

    output.result(found, human)


def _entry(name: str, data: Path, *, is_shipped: bool) -> dict[str, Any]:
    """One row of the list, with the problem of a dataset that cannot be read."""
    from wukongctl.config import library
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load
    from wukongctl.data import manifest as manifests
    from wukongctl.errors import WukongError

    description, rows, problem = "", None, None
    prepared = (data / name / manifests.FILE).exists()
    try:
        if is_shipped:
            description = load(library.find(name, "datasets"), DatasetSpec).description
        if prepared:
            manifest = manifests.read(data / name)
            rows = sum(split.rows for split in manifest.splits.values())
            description = description or manifest.description
    except WukongError as error:
        problem = str(error)
    return {
        "name": name,
        "description": description,
        "prepared": prepared,
        "rows": rows,
        "shipped": is_shipped,
        "problem": problem,
    }


@datasets.command(
    "show", short_help="Show license, sources, splits, features and statistics.", epilog=SHOW_EXAMPLES
)
@click.argument("dataset", type=options.dataset)
@options.data
@options.common
def show(output: Output, dataset: str, data: Path) -> None:
    """Show DATASET: its license and sources and, once prepared, its splits, features and statistics."""
    from wukongctl.cli.dataset_tables import show_manifest, show_recipe
    from wukongctl.config import library
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load
    from wukongctl.data import manifest as manifests
    from wukongctl.data import next_steps, recipes

    # The recipe of a user's dataset cannot be found by name, but its manifest contains it.
    mine = dataset in next_steps.prepared(data) and dataset not in library.names("datasets")
    spec = None if mine else load(recipes.find_dataset(dataset, data), DatasetSpec)
    folder = data / (spec.name if spec is not None else dataset)
    manifest = manifests.read(folder) if (folder / manifests.FILE).is_file() else None
    described = manifest.to_dict() if manifest is not None else None
    recipe: dict[str, Any] = spec.to_dict() if spec is not None else (described or {})["recipe"]

    def human(console: "Console") -> None:
        show_recipe(console, recipe)
        if described is None:
            command = next_steps.prepare_command(dataset, data)
            console.print(f"not prepared in {data}; run `{command}`", soft_wrap=True)
        else:
            show_manifest(console, described)

    output.result({"recipe": recipe, "manifest": described}, human)


@datasets.command("init", short_help="Draft a recipe for a table.", epilog=INIT_EXAMPLES)
@click.argument("file", metavar="FILE")
@click.option(
    "--label", metavar="COLUMN|SQL", help="Label column, or SQL giving 0 or 1; inferred when omitted."
)
@click.option(
    "--positive", metavar="VALUE", multiple=True, help="Label value that counts as positive; repeatable."
)
@click.option(
    "--join",
    metavar="FILE:KEY",
    multiple=True,
    help="Table to join and its key (or KEY=ITS_KEY); repeatable.",
)
@click.option("--name", metavar="NAME", help="Name of the dataset; default: the file's name.")
@options.common
def init(
    output: Output,
    file: str,
    label: str | None,
    positive: tuple[str, ...],
    join: tuple[str, ...],
    name: str | None,
) -> None:
    """Inspect the table FILE (CSV, TSV, JSON or Parquet; also .gz) and print a recipe for it."""
    from wukongctl.data import next_steps, recipes
    from wukongctl.data.drafting.draft import draft

    recipes.require_table(file, next_steps.default_folder())
    made = draft(file, label=label, positive=positive, join=join, name=name)
    content = {
        "name": made.name,
        "recipe": made.text,
        "label": {"column": made.label.column.name, "expression": made.label.expression},
        "columns": [{"name": r.column.name, "use": r.kind, "note": r.note} for r in made.roles],
        "doubts": list(made.remarks),
    }
    output.result(content, lambda console: console.out(made.text.removesuffix("\n"), highlight=False))
    for remark in made.remarks:
        output.warn(remark)
    if made.remarks:
        output.note("edit the recipe where these guesses are wrong")
    target = f"{made.name}.yaml"
    output.note(f"save it as {target} in this folder, then run `wukongctl prepare ./{target}`")
