"""`wukongctl prepare`: raw files to a verified Parquet dataset."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cli.pace import Pace
from wukongctl.cli.progress import ProgressBar

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.data.manifest import Manifest
    from wukongctl.data.options import EngineName, Options
    from wukongctl.data.prepare import PreparePlan
    from wukongctl.data.progress import Progress

EXAMPLES = """\b
Examples:
  wukongctl prepare synthetic
  wukongctl prepare frappe --source ~/Downloads/Frappe_x1
  wukongctl prepare ./my-clicks.yaml --memory-limit 4GB
"""


@click.command(epilog=EXAMPLES)
@click.argument("datasets", nargs=-1, required=True, type=options.dataset, metavar="DATASET...")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Folder or file with the raw data, instead of a download.",
)
@options.out("data", "Folder for prepared datasets.", envvar="WUKONGCTL_DATA")
@click.option(
    "--memory-limit", metavar="SIZE", help="Memory limit for DuckDB, such as 4GB; it spills to disk."
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads for DuckDB; default: one per core.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="`ray` processes the raw files in parallel on a Ray cluster.",
)
@click.option("--limit-rows", type=click.IntRange(min=1), help="Use only the first rows of each SELECT.")
@click.option("--no-verify", is_flag=True, help="Continue on checksum or row-count mismatch, and record it.")
@click.option("--force", is_flag=True, help="Rebuild a dataset that is already prepared.")
@click.option("--refresh", is_flag=True, help="Download files without a published checksum again.")
@click.option("--dry-run", is_flag=True, help="Check available files, print what would be done, and exit.")
@options.common
def prepare(
    output: Output,
    datasets: tuple[str, ...],
    source: Path | None,
    out: Path,
    memory_limit: str | None,
    threads: int | None,
    engine: "EngineName",
    limit_rows: int | None,
    no_verify: bool,
    force: bool,
    refresh: bool,
    dry_run: bool,
) -> None:
    """Prepare each DATASET, the name of a shipped recipe or a YAML file of your own."""
    from wukongctl.config.dataset import DatasetSpec
    from wukongctl.config.loading import load
    from wukongctl.data import next_steps, recipes
    from wukongctl.data.options import Options
    from wukongctl.data.query.engine import require_memory_limit

    found = [(path, load(path, DatasetSpec)) for path in (recipes.find_dataset(n, out) for n in datasets)]
    require_memory_limit(memory_limit)
    options.require_few("--threads", threads)
    options.exclusive(("--source", source), ("--refresh", refresh))

    def options_for(path: Path) -> Options:
        return Options(
            path.parent, out, source, verify=not no_verify, memory_limit=memory_limit, threads=threads,
            limit_rows=limit_rows, force=force, refresh=refresh, engine=engine,
        )  # fmt: skip

    if dry_run:
        _dry_run(output, [(spec, options_for(path)) for path, spec in found])
        return
    results = []
    for path, spec in found:
        started = time.monotonic()
        manifest, fresh = run_recipe(output, spec, path, options_for(path))
        results.append((manifest, summary(manifest, out, time.monotonic() - started, fresh=fresh)))
    content = [content for _, content in results]
    output.result(content[0] if len(content) == 1 else content, lambda console: _show(console, results))
    for manifest, _ in results:
        valid = manifest.splits.get("valid")
        has_auc = valid is None or valid.has_both_classes
        output.note(next_steps.after_preparation(manifest.dataset, out, has_auc=has_auc))


def run_recipe(output: Output, spec: "DatasetSpec", path: Path, wanted: "Options") -> "tuple[Manifest, bool]":
    """Prepare with a progress bar, also for `quickstart`; also return whether anything was built."""
    from wukongctl.config.loading import locate_problems
    from wukongctl.data.prepare import UP_TO_DATE
    from wukongctl.data.prepare import prepare as prepare_dataset
    from wukongctl.data.progress import Progress
    from wukongctl.data.publishing import WAITING

    last, announced = "", False
    pace = Pace()
    with locate_problems(path, at_key=False), output.progress() as bar:

        def report(at: Progress) -> None:
            nonlocal last, announced
            waits = at.stage.startswith(WAITING)
            if waits and at.stage != last:
                output.note(at.stage)
            # Only now is it certain that there is work, and which files other processes have not downloaded.
            if not (waits or announced or at.stage == UP_TO_DATE):
                announced = True
                if wanted.source is None:
                    _announce_download(output, spec, refresh=wanted.refresh)
            last = at.stage
            bar.update(f"{spec.name}: {at.stage}", at.done, at.total, pace.describe(at))

        manifest = prepare_dataset(spec, replace(wanted, report=report))
    fresh = last != UP_TO_DATE
    if not fresh:
        output.note(f"`{wanted.out / spec.name}` is already prepared; `--force` rebuilds it")
    for problem in manifest.problems:
        output.warn(problem)
    return manifest, fresh


def _announce_download(output: Output, spec: "DatasetSpec", *, refresh: bool) -> None:
    """Print size and license before the first download."""
    from wukongctl.data.acquire.cache import pending

    downloads = pending(spec, refresh=refresh)
    if not downloads:
        return
    sizes = [download.bytes for download in downloads.values()]
    size = f", {sum(filter(None, sizes)) / 1e6:,.1f} MB" if all(sizes) else ""
    output.note(f"downloading {', '.join(f'`{name}`' for name in downloads)}{size}")
    if spec.license is not None:
        where = spec.license.url or spec.homepage
        output.note(f"terms of `{spec.name}`: {spec.license.name}{f' ({where})' if where else ''}")


def summary(manifest: "Manifest", out: Path, seconds: float, *, fresh: bool = True) -> dict[str, Any]:
    """The JSON object of one dataset, built in `seconds`; 0 rows per second unless `fresh`."""
    files = [file for split in manifest.splits.values() for file in split.files]
    rows = sum(file.rows for file in files) if fresh else 0
    return {
        "dataset": manifest.dataset,
        "path": str(out / manifest.dataset),
        "splits": {
            name: {"rows": split.rows, "positives": split.positives}
            for name, split in manifest.splits.items()
        },
        "features": sum(feature.of is None for feature in manifest.features),
        "embedding_rows": manifest.schema().embedding_rows,
        "fingerprint": manifest.fingerprint,
        "verified": manifest.verified,
        "problems": list(manifest.problems),
        "rows_per_second": rows / max(seconds, 1e-9),
        "seconds": seconds,
    }


def _show(console: "Console", results: "list[tuple[Manifest, dict[str, Any]]]") -> None:
    from wukongctl.cli.tables import table

    for manifest, content in results:
        shown = table(manifest.dataset, "rows", "positives", "rate")
        for name, split in manifest.splits.items():
            shown.add_row(
                name, f"{split.rows:,}", f"{split.positives:,}", f"{split.positives / split.rows:.4f}"
            )
        console.print(shown)
        console.print(
            f"{content['features']} features, {content['embedding_rows']:,} embedding rows, fingerprint "
            f"{manifest.fingerprint[:12]}"
        )
        speed = f", {content['rows_per_second']:,.0f} rows/s" if content["rows_per_second"] else ""
        console.print(f"{content['seconds']:.1f} s{speed} → {content['path']}", soft_wrap=True)


def _dry_run(output: Output, requests: "list[tuple[DatasetSpec, Options]]") -> None:
    from wukongctl.data.prepare import plan

    plans: list[PreparePlan] = []
    for spec, wanted in requests:
        with output.progress() as bar:

            def report(at: "Progress", bar: "ProgressBar" = bar) -> None:
                bar.update(at.stage, at.done, at.total)

            plans.append(plan(spec, replace(wanted, report=report)))

    def human(console: "Console") -> None:
        for each in plans:
            console.print(f"would prepare `{each['dataset']}` in {each['path']}", soft_wrap=True)
            for line in each["steps"]:
                console.print(f"  {line}", soft_wrap=True)

    output.result(plans[0] if len(plans) == 1 else plans, human)
