"""`wukongctl datasets`: what can be prepared, and what was."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.dataset import DatasetSpec


@click.group(short_help="List and show datasets.")
def datasets() -> None:
    """Datasets are YAML recipes; `wukongctl prepare` turns them into Parquet."""


@datasets.command("ls")
@options.data
@options.common
def ls(output: Output, data: Path) -> None:
    """List the datasets that ship, and whether each is prepared in `--data`."""
    from wukongctl.config import library
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load

    found = []
    for name in library.names("datasets"):
        spec = load(library.find(name, "datasets"), DatasetSpec)
        prepared = (data / name / "manifest.json").is_file()
        found.append({"name": name, "description": spec.description, "prepared": prepared})

    def human(console: "Console") -> None:
        from wukongctl.cli.tables import table

        shown = table("dataset", "prepared", "")
        shown.columns[2].justify = "left"
        for entry in found:
            shown.add_row(str(entry["name"]), "yes" if entry["prepared"] else "–", str(entry["description"]))
        console.print(shown)

    output.result(found, human)


@datasets.command("show")
@click.argument("dataset")
@options.data
@options.common
def show(output: Output, dataset: str, data: Path) -> None:
    """Show DATASET: its terms and sources, and its splits and features once prepared."""
    from wukongctl.config import library
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load
    from wukongctl.data import manifest as manifests

    spec = load(library.find(dataset, "datasets"), DatasetSpec)
    folder = data / spec.name
    manifest = manifests.read(folder) if (folder / manifests.FILE).is_file() else None
    content = {"recipe": spec.to_dict(), "manifest": manifest.to_dict() if manifest is not None else None}

    def human(console: "Console") -> None:
        _show_recipe(console, spec)
        if content["manifest"] is None:
            console.print(f"not prepared in {data}; run `wukongctl prepare {dataset}`", soft_wrap=True)
        else:
            _show_manifest(console, content["manifest"])

    output.result(content, human)


def _show_recipe(console: "Console", spec: "DatasetSpec") -> None:
    console.print(f"{spec.name}: {spec.description}", soft_wrap=True)
    lines = {
        "homepage": spec.homepage,
        "cite": spec.citation,
        "licence": spec.license.name if spec.license is not None else None,
        "files": ", ".join(spec.files) or None,
        "downloads": ", ".join(spec.downloads) or None,
    }
    for name, value in lines.items():
        if value is not None:
            console.print(f"  {name}: {value}", soft_wrap=True)
    if spec.instructions is not None:
        console.print(spec.instructions, soft_wrap=True)


def _show_manifest(console: "Console", manifest: dict[str, Any]) -> None:
    from wukongctl.cli.tables import table

    splits = table("split", "rows", "positives", "rate", "Bayes LogLoss")
    for name, split in manifest["splits"].items():
        bayes = "–" if split["bayes_logloss"] is None else f"{split['bayes_logloss']:.5f}"
        rate = f"{split['positives'] / split['rows']:.4f}"
        splits.add_row(name, f"{split['rows']:,}", f"{split['positives']:,}", rate, bayes)
    console.print(splits)
    features = table("feature", "type", "embedding rows")
    for feature in manifest["features"]:
        rows = "–" if feature["rows"] is None else f"{feature['rows']:,}"
        features.add_row(feature["name"], feature["type"], rows)
    console.print(features)
    for problem in manifest["problems"]:
        console.print(f"note: {problem}", soft_wrap=True)
    console.print(f"fingerprint: {manifest['fingerprint']}", soft_wrap=True)
