"""`wukongctl flops`: FLOPs, parameters and memory of recipes, without data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wukongctl.cli import options
from wukongctl.cli.output import Output
from wukongctl.cost.gpus import GPUS

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.config.training import TrainingSpec
    from wukongctl.cost.cluster import ClusterPlan
    from wukongctl.cost.flops import FlopReport, ModuleCount
    from wukongctl.data.schema import Schema

EXACT_WIDTH = 120
"""Terminal width from which tables have every digit and column."""
EXAMPLES = """\b
Examples:
  wukongctl flops frappe/wukong frappe/dlrm
  wukongctl flops my.yaml --by-module --set model.layers=8
  wukongctl flops my.yaml --max-gflop 0.5        # exit 3 when it costs more
  wukongctl flops my.yaml --examples 146e9       # PF-days of a whole run
  wukongctl flops criteo/wukong --solve gflop=2 > larger.yaml
  wukongctl flops paper/table2/criteo-tb/dlrm --gpus 8 --gpu h100    # estimated memory and step time
"""


@click.command(epilog=EXAMPLES)
@click.argument("recipes", nargs=-1, required=True, type=options.recipe, metavar="RECIPE...")
@options.overrides
@options.data
@click.option(
    "--mode", type=click.Choice(["train", "forward"]), default="train", show_default=True,
    help="FLOPs to show, and to compare with `--max-gflop`.",
)  # fmt: skip
@click.option("--by-module", is_flag=True, help="Show one row per part of the model.")
@click.option("--max-gflop", type=float, help="Exit with 3 if a recipe needs more GFLOP per example.")
@click.option("--examples", type=float, metavar="N", help="Also show the compute of training on N examples.")
@click.option(
    "--solve", metavar="gflop=X", help="Print RECIPE, a Wukong, scaled to X training GFLOP per example."
)
@click.option("--gpus", type=click.IntRange(1), metavar="N", help="Estimate memory and step time on N GPUs.")
@click.option(
    "--gpu", type=click.Choice(list(GPUS)), help="GPU to estimate for; a single one without `--gpus`."
)
@click.option(
    "--embedding-params", type=float, metavar="N", help="Scale the embedding tables to N weights in total."
)
@options.common
def flops(
    output: Output,
    recipes: tuple[str, ...],
    overrides: tuple[str, ...],
    data: Path,
    mode: str,
    by_module: bool,
    max_gflop: float | None,
    examples: float | None,
    solve: str | None,
    gpus: int | None,
    gpu: str | None,
    embedding_params: float | None,
) -> None:
    """Count FLOPs per example, parameters and bytes of each RECIPE.

    FLOPs are counted by formula and checked by tracing. Embedding parameters come from the prepared
    dataset if there is one, otherwise from its recipe.
    """
    from wukongctl.config.loading import locate_problems
    from wukongctl.data import recipes as training

    tables = [("--by-module", by_module), ("--max-gflop", max_gflop), ("--examples", examples)]
    sizes = [("--gpus", gpus), ("--gpu", gpu), ("--embedding-params", embedding_params)]
    options.exclusive(("--solve", solve), *tables, ("--mode forward", mode == "forward"), *sizes)
    _require_positive("--max-gflop", max_gflop)
    _require_positive("--examples", examples)
    _require_positive("--embedding-params", embedding_params)
    if gpus is not None and gpu is None:
        raise click.UsageError(f"`--gpus` needs `--gpu`, one of {', '.join(GPUS)}")
    paths = {recipe: training.find(recipe, data) for recipe in recipes}
    specs = {recipe: training.load(path, data, overrides) for recipe, path in paths.items()}
    for recipe, path in paths.items():
        if keys := training.sizes_unknown(path, data, overrides):
            output.warn(
                f"`{recipe}` omits {', '.join(f'`{key}`' for key in keys)}, and its dataset is not prepared: "
                "counted with fixed defaults"
            )
    if solve is not None:
        with locate_problems(paths[recipes[0]], overrides):
            _solve(output, specs, data, solve)
        return
    reports, plans = [], {}
    for recipe, spec in _counted(output, specs).items():
        with locate_problems(paths[recipe], overrides):
            schema, known = _schema_of_size(output, recipe, spec, data, embedding_params)
            reports.append(_report(paths[recipe], recipe, spec, schema, known, overrides))
            if gpu is not None:
                plans[recipe] = _plan(spec, schema, known, gpu, gpus or 1)
    wanted = None if examples is None else int(examples)
    output.result(
        [report.to_dict(wanted) | _planned(plans.get(report.recipe), wanted) for report in reports],
        lambda console: _show(console, reports, plans, mode, by_module, wanted),
    )
    _gate(reports, mode, max_gflop)


def _schema_of_size(
    output: Output, recipe: str, spec: "TrainingSpec", data: Path, embedding_params: float | None
) -> "tuple[Schema, bool]":
    """The dataset's columns, and whether its embedding rows are known; scaled on request."""
    from wukongctl.cost.sizes import with_embedding_params
    from wukongctl.data.columns import known_columns

    found = known_columns(spec.data, data)
    if found.bounded:
        output.warn(
            f"`{recipe}`: dataset `{spec.data}` is not prepared: counted with the maximum number of bins "
            f"of {', '.join(found.bounded)}"
        )
    if embedding_params is None:
        return found.schema, found.rows_known
    return with_embedding_params(spec, found.schema, int(embedding_params)), True


def _report(
    path: Path, recipe: str, spec: "TrainingSpec", schema: "Schema", known: bool, overrides: tuple[str, ...]
) -> "FlopReport":
    from dataclasses import replace

    from wukongctl.cost.flops import analyze
    from wukongctl.cost.published import published

    counted = analyze(recipe, spec, schema, embedding_rows_known=known)
    return counted if overrides else replace(counted, published=published(path))


def _plan(spec: "TrainingSpec", schema: "Schema", known: bool, gpu: str, gpus: int) -> "ClusterPlan":
    from wukongctl.cost.cluster import ClusterPlan
    from wukongctl.cost.traced import TracedModel
    from wukongctl.errors import UsageError

    if not known:
        raise UsageError(
            f"the recipe of dataset `{spec.data}` does not tell how large its tables are",
            hint="prepare the dataset, or add `--embedding-params 1e9`",
        )
    return ClusterPlan(spec, TracedModel(spec, schema), GPUS[gpu], gpus)


def _planned(plan: "ClusterPlan | None", examples: int | None) -> dict[str, Any]:
    from wukongctl.cli.cluster import cluster_to_dict

    return {} if plan is None else {"cluster": cluster_to_dict(plan, examples)}


def _counted(output: Output, specs: "dict[str, TrainingSpec]") -> "dict[str, TrainingSpec]":
    """The recipes of networks; a note names the others. Raises UsageError if there is no network."""
    from wukongctl.errors import UsageError

    counted = {recipe: spec for recipe, spec in specs.items() if spec.is_network}
    for recipe, spec in specs.items():
        what = f"`{recipe}`: model `{spec.model.name}` has no matrix products, so no FLOPs to count"
        if not counted:
            raise UsageError(what, hint="`wukongctl train` reports how long it takes")
        if not spec.is_network:
            output.note(f"skipped {what}")
    return counted


def _require_positive(option: str, value: float | None) -> None:
    from wukongctl.errors import UsageError

    if value is not None and not 0 < value < float("inf"):
        raise UsageError(f"`{option} {value:g}` is not a positive number")


def _solve(output: Output, specs: "dict[str, TrainingSpec]", data: Path, budget: str) -> None:
    from wukongctl.config.dumping import to_yaml
    from wukongctl.cost.solve import solve
    from wukongctl.data.columns import known_columns
    from wukongctl.errors import UsageError

    key, _, value = budget.partition("=")
    try:
        gflop = float(value)
    except ValueError:
        gflop = 0.0
    if key != "gflop" or not 0 < gflop < float("inf"):
        raise UsageError(f"`--solve {budget}` is not a positive budget", hint="write `--solve gflop=2`")
    if len(specs) > 1:
        raise UsageError("`--solve` takes one recipe", hint="leave out the others")
    ((name, spec),) = specs.items()
    solution = solve(spec, known_columns(spec.data, data).schema, gflop)
    content = {"defaults": "fixed"} | solution.recipe.model_dump(mode="json", exclude_unset=True)
    text = to_yaml(content)
    header = f"# Wukong of {solution.gflop:.4g} training GFLOP/example, scaled from {name}.\n"
    command = f"# wukongctl flops {name} --solve {budget}\n"
    output.result(
        {"recipe": content, "gflop_per_example": solution.gflop},
        lambda console: console.out(header + command + text, end="", highlight=False),
    )


def _gflop(report: "FlopReport", mode: str) -> float:
    return report.counts.gflop if mode == "train" else report.counts.forward_gflop


def _show(
    console: "Console",
    reports: "list[FlopReport]",
    plans: "dict[str, ClusterPlan]",
    mode: str,
    by_module: bool,
    examples: int | None,
) -> None:
    from wukongctl.cli.cluster import show_cluster
    from wukongctl.models.counts import CONVENTION

    for report in reports if by_module else ():
        _show_modules(console, report)
    _show_summary(console, reports, mode, examples)
    if any(report.published for report in reports):
        _show_published(console, reports)
    console.print(f"convention: {CONVENTION}", soft_wrap=True)
    for recipe, plan in plans.items():
        console.print()
        show_cluster(console, recipe, plan, examples)


def _show_summary(console: "Console", reports: "list[FlopReport]", mode: str, examples: int | None) -> None:
    from wukongctl.cli.tables import table

    exact = console.width >= EXACT_WIDTH
    macs = ["MACs"] if exact else []
    summary = table("recipe", f"{mode} MFLOP", *macs, "dense params", "embedding params", "memory")
    frozen = any(report.counts.frozen_values for report in reports)
    if frozen:
        summary.add_column("frozen values", justify="right")
    if examples is not None:
        summary.add_column("PF-days", justify="right")
    for report in reports:
        counts, known = report.counts, report.embedding_rows_known
        numbers = [counts.macs, counts.dense_params, counts.embedding_params, counts.frozen_values]
        shown = [f"{number:,}" if exact else _short(number, 4) for number in numbers]
        learned, held = shown[2:] if known else ("unknown", "unknown")
        memory = _bytes(report.memory.total) if known else "unknown"
        days = [] if examples is None else [f"{report.pf_days(examples):.4g}"]
        mflop = f"{_gflop(report, mode) * 1e3:,.6g}"
        cells = [mflop, *shown[not exact : 2], learned, memory]
        summary.add_row(report.recipe, *cells, *([held] if frozen else []), *days)
    console.print(summary)


def _show_published(console: "Console", reports: "list[FlopReport]") -> None:
    """Our counts beside those that a paper prints for the same recipes."""
    from wukongctl.cli.tables import table

    shown = table("vs. paper", "GFLOP", "paper", "", "dense params", "paper", "")
    for report in reports:
        if (theirs := report.published) is None:
            continue
        ours = report.counts
        shown.add_row(
            report.recipe,
            f"{ours.gflop:.4g}",
            f"{theirs.gflop:g}",
            f"{ours.gflop / theirs.gflop - 1:+.1%}",
            _short(ours.dense_params, 4),
            _short(theirs.dense_params, 4),
            f"{ours.dense_params / theirs.dense_params - 1:+.1%}",
        )
    console.print(shown)


def _show_modules(console: "Console", report: "FlopReport") -> None:
    _show_module_table(console, report)
    memory, batch = report.memory, report.memory.batch_size
    if report.embedding_rows_known:
        console.print(
            f"training memory {_bytes(memory.total)}: weights {_bytes(memory.weights)}, gradients "
            f"{_bytes(memory.gradients)}, optimizer {_bytes(memory.optimizer)}, activations "
            f"{_bytes(memory.activations * batch)} for batches of {batch:,}",
            soft_wrap=True,
        )
    console.print(
        f"lookups {_bytes(report.look_ups)} per example; {report.intensity:.1f} forward FLOP per byte moved, "
        "without fusion",
        soft_wrap=True,
    )
    unseen = ", ".join(name for name, (_, elements) in report.uncounted.items() if elements)
    share = report.elementwise / max(report.counts.forward_gflop * 1e9, 1)
    console.print(
        f"not counted: {report.elementwise:,} element-wise operations per example, {share:.2%} of "
        f"the forward FLOP ({unseen})",
        soft_wrap=True,
    )


def _show_module_table(console: "Console", report: "FlopReport") -> None:
    from wukongctl.cli.tables import table

    wide = console.width >= EXACT_WIDTH  # a narrow terminal leaves out what other columns imply
    more = ("bytes", "lookups") if wide else ()
    shown = table("part", "×", "MACs", "fwd", "train", "share", "params", *more, "act.", "FLOP/B")
    shown.title, shown.title_justify, shown.title_style = report.recipe, "left", "bold"
    for names, module in _alike(report):
        known = module.macs or module.look_ups == 0 or report.embedding_rows_known
        weights = _short(module.params * 4, base=1024) if known else "?"
        shown.add_row(
            names[0] if len(names) == 1 else f"{names[0]} …",
            str(len(names)),
            _short(module.macs),
            _short(round(module.forward_gflop * 1e9)),
            _short(round(module.gflop * 1e9)),
            f"{len(names) * module.macs / max(report.counts.macs, 1):.1%}",
            _short(module.params) if known else "?",
            *((weights, _short(module.look_ups, base=1024)) if wide else ()),
            _short(module.activations, base=1024),
            "–" if module.intensity is None else f"{module.intensity:.1f}",
        )
    console.print(shown)
    extra = "bytes: of weights; lookups: bytes of embeddings per example; " if wide else ""
    console.print(
        f"fwd, train: FLOP per example; {extra}act.: bytes per example kept for the backward pass; "
        "FLOP/B: forward, per byte moved",
        soft_wrap=True,
    )


def _alike(report: "FlopReport") -> "list[tuple[list[str], ModuleCount]]":
    """Rows of the table: parts that differ only in the number of their layer share one."""
    groups: dict[object, tuple[list[str], ModuleCount]] = {}
    for module in report.modules:
        parts = tuple("*" if part.isdigit() else part for part in module.name.split("."))
        size = (module.macs, module.params, module.activations, module.traffic)
        groups.setdefault((parts, size), ([], module))[0].append(module.name)
    return list(groups.values())


def _short(number: int, digits: int = 3, *, base: int = 1000) -> str:
    """Three digits and a unit: `628k`; with base 1024 `1.5M` is 1.5 MiB."""
    size, units = float(number), ["", "k", "M", "G", "T", "P"]
    while size >= 999.95 and len(units) > 1:  # values that round to 1000 take the next unit
        size, units = size / base, units[1:]
    return f"{size:.{digits}g}{units[0]}"


def _bytes(number: int) -> str:
    """A byte count in a sentence: `1.5 MiB`."""
    short = _short(number, base=1024)
    return f"{short[:-1]} {short[-1].upper()}iB" if short[-1].isalpha() else f"{short} B"


def _gate(reports: "list[FlopReport]", mode: str, max_gflop: float | None) -> None:
    from wukongctl.errors import CheckFailed

    over = [report for report in reports if max_gflop is not None and not _gflop(report, mode) <= max_gflop]
    if over:
        named = ", ".join(f"`{report.recipe}` {_gflop(report, mode):.6g}" for report in over)
        raise CheckFailed(f"over {max_gflop:g} GFLOP per example ({mode}): {named}")
