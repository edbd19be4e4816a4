"""Output of `flops --gpus N --gpu KIND`: memory and step time of a recipe on these GPUs, estimated."""

from typing import TYPE_CHECKING, Any

from wukongctl.cli.output import prose
from wukongctl.cost.gpus import GB, MB

if TYPE_CHECKING:
    from rich.console import Console

    from wukongctl.cost.cluster import ClusterPlan

DAY = 86_400
MEMORY = {
    "dense_weights": "dense weights",
    "dense_gradients": "dense gradients",
    "dense_optimizer": "dense optimizer state",
    "gathered": "layers gathered by FSDP",
    "weight_copies": "bfloat16 copies of weights",
    "activations": "activations",
    "batch": "batch",
    "tables": "embedding tables",
    "table_gradients": "table gradients",
    "table_optimizer": "table optimizer state",
    "exchange": "embedding exchange buffers",
    "frozen": "frozen vectors",
}
WORK = {
    "look_up": "embedding lookups",
    "forward": "forward",
    "backward": "backward",
    "update_tables": "table update",
    "update_dense": "dense update",
}


def cluster_to_dict(plan: "ClusterPlan", examples: int | None) -> dict[str, Any]:
    """The object `cluster` of `flops --json`."""
    from wukongctl.cost.remedies import host_memory, remedies

    days = {} if examples is None else {"days": _days(plan, examples)}
    found = [remedy.to_dict() for remedy in remedies(plan)]
    return {**plan.to_dict(), **days, "fits_with": found, "host_memory": host_memory(plan)}


def show_cluster(console: "Console", recipe: str, plan: "ClusterPlan", examples: int | None) -> None:
    """Print memory, step time, changes that would make it fit, and the assumptions."""
    servers = "" if plan.gpus == 1 else f" in {plan.nodes} servers" if plan.nodes > 1 else " in one server"
    placed = "" if plan.gpus == 1 else f", dense weights {plan.dense}, tables {plan.embeddings}"
    console.print(
        f"{recipe} on {plan.gpus} × {plan.gpu.title}{servers}: {plan.precision}{placed}, {plan.examples:,} "
        f"of {plan.recipe.batch_size:,} examples each",
        soft_wrap=True,
        style="bold",
    )
    _show_memory(console, plan)
    _show_step(console, plan, examples)
    if not plan.fits:
        _show_remedies(console, plan)
    console.print("assumptions:")
    for assumption in plan.assumptions():
        prose(console, f"- {assumption}")


def _show_memory(console: "Console", plan: "ClusterPlan") -> None:
    from dataclasses import asdict

    from wukongctl.cli.tables import table

    total = plan.memory.total
    unit, name = (GB, "GB") if total >= GB else (MB, "MB")
    shown = table("memory per GPU", name, "share")
    for key, size in asdict(plan.memory).items():
        if size:
            shown.add_row(MEMORY[key], f"{size / unit:,.2f}", f"{size / total:.1%}")
    shown.add_row("total", f"{total / unit:,.2f}", "")
    console.print(shown)
    verdict = "fits" if plan.fits else "does not fit"
    console.print(
        f"{verdict}: needs {total / unit:,.1f} {name}, {plan.usable / GB:,.1f} of "
        f"{plan.gpu.memory / GB:,.0f} GB are usable",
        soft_wrap=True,
    )


def _show_step(console: "Console", plan: "ClusterPlan", examples: int | None) -> None:
    from dataclasses import asdict

    from wukongctl.cli.tables import table

    times = {name: 1e3 * seconds for name, seconds in asdict(plan.timeline).items()}
    headings = ("GB sent", "to other servers") if plan.gpus > 1 else ()
    shown = table("step", *headings, "ms", *(("overlaps",) if headings else ()))
    for one in plan.collectives:
        outside = one.over_network(plan.gpus, plan.gpu.per_node)
        sent = (f"{one.sent / GB:,.3f}", f"{outside / GB:,.3f}")
        shown.add_row(one.name, *sent, f"{1e3 * plan.seconds(one):,.2f}", one.overlaps or "nothing")
    for key, name in WORK.items():
        shown.add_row(name, *("" for _ in headings), f"{times[key]:,.2f}")
    shown.add_row("step", *("" for _ in headings), f"{1e3 * plan.timeline.step:,.2f}")
    console.print(shown)
    days = "" if examples is None else f"; {examples:,} examples in {_days(plan, examples):,.3g} days"
    each = "" if plan.gpus == 1 else f", {plan.examples_per_second / plan.gpus:,.0f} per GPU"
    console.print(
        f"{plan.examples_per_second:,.0f} examples per second{each}; MFU {plan.mfu:.1%}{days}", soft_wrap=True
    )


def _show_remedies(console: "Console", plan: "ClusterPlan") -> None:
    from wukongctl.cost.remedies import host_memory, remedies

    found = remedies(plan)
    if not found:
        console.print(
            "no combination of keys, batch size and number of GPUs that was tried makes it fit",
            soft_wrap=True,
        )
    for remedy in found:
        console.print(f"fits with `{remedy.change}`: {remedy.total / GB:,.1f} GB", soft_wrap=True)
    if (over := host_memory(plan)) is not None:
        console.print(
            f"or with {over / GB:,.1f} GB of tables per GPU in host memory, which `train` does not support "
            "yet",
            soft_wrap=True,
        )


def _days(plan: "ClusterPlan", examples: int) -> float:
    return examples / plan.examples_per_second / DAY
