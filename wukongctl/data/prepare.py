"""Raw files → a prepared dataset: verify, count vocabularies on train, encode, check, swap in.

Nothing is visible until everything is written and checked; what is there already is left alone unless the
caller forces its replacement.
"""

import os
from pathlib import Path
from typing import Literal, TypedDict

from wukongctl.config.dataset import DatasetSpec
from wukongctl.data import manifest, publishing
from wukongctl.data.acquire import cache, sources
from wukongctl.data.manifest import Manifest
from wukongctl.data.options import Options
from wukongctl.data.pipeline import flow, keys
from wukongctl.data.progress import Progress
from wukongctl.data.query.engine import require_memory_limit
from wukongctl.data.stages import DATASET, RAW
from wukongctl.errors import RunFailed, UsageError
from wukongctl.signals import interruptible

UP_TO_DATE = "already prepared"
"""The stage reported when there was nothing to do."""


def prepare(spec: DatasetSpec, options: Options) -> Manifest:
    """Prepare `spec` in `options.out / spec.name` and return its manifest; at once if that is already done.

    Raises CheckFailed for a checksum or count that does not hold, UsageError for a recipe, path or
    existing dataset in the way, RunFailed for raw data that cannot be read.
    """
    require_memory_limit(options.memory_limit)
    keys.require(spec)
    target = options.out / spec.name
    with interruptible(spec.name), publishing.locked(target, options.report):
        current = existing(target, spec, options)
        if current is not None and _settled(current, spec, options):
            options.report(Progress(UP_TO_DATE, 1, 1))
            return current
        with publishing.building(target) as workspace:
            try:
                return _prepare_in(workspace, target, spec, options, current)
            except OSError as error:
                reason = os.strerror(error.errno).lower() if error.errno else str(error)
                raise RunFailed(
                    f"cannot write `{target}`: {reason}", hint="nothing was changed; make room and try again"
                ) from error


class Plan(TypedDict):
    """What `prepare` would do, for people (`steps`) and programs."""

    dataset: str
    path: str
    state: Literal["absent", "prepared", "different"]
    steps: list[str]
    sql: list[str]


def plan(spec: DatasetSpec, options: Options) -> Plan:
    """What `prepare` would read, download and run; writes nothing.

    Raises what `prepare` would before its first download: a split key that reads the label, a dataset in the
    way, a file that is missing, or one at hand that is not the published one.
    """
    keys.require(spec)
    target = options.out / spec.name
    current = existing(target, spec, options)
    settled = current is not None and _settled(current, spec, options)
    if not settled:
        sources.check_local(spec, options)
    queries = [query.strip() for query in spec.queries]
    known = settled or (current is not None and not options.refresh)
    steps = [f"nothing: `{target}` is already prepared"] if known else _steps(spec, options, queries)
    state: Literal["absent", "prepared", "different"] = "different" if target.exists() else "absent"
    return Plan(
        dataset=spec.name, path=str(target), state="prepared" if current else state, steps=steps, sql=queries
    )


def _steps(spec: DatasetSpec, options: Options, queries: list[str]) -> list[str]:
    """One line for each thing that preparing from nothing does."""
    steps = [f"licence: {spec.license.name}"] if spec.license is not None else []
    steps += sources.plan(spec, options)
    if spec.generator is not None:
        rows = min(spec.generator.rows, options.limit_rows or spec.generator.rows)
        steps.append(f"generate {rows:,} rows")
    return steps + [f"run {query}" for query in queries]


def existing(target: Path, spec: DatasetSpec, options: Options) -> Manifest | None:
    """The manifest at `target` if it answers the same request; UsageError if it answers another one."""
    if not target.exists():
        return None
    if not (target / manifest.FILE).is_file():
        raise UsageError(
            f"`{target}` exists and is not a prepared dataset", hint="choose another folder with `--out`"
        )
    if options.force:
        return None
    current = manifest.read(target)
    if current.recipe_digest != spec.content_digest() or current.limit_rows != options.limit_rows:
        what = (
            "from another recipe"
            if current.limit_rows == options.limit_rows
            else "with another `--limit-rows`"
        )
        raise _differs(target, what)
    return current


def pinned(current: Manifest) -> bool:
    """Whether published checksums fix every source, so that raw files need not be looked at again."""
    return all(source.verified for source in current.sources)


def _settled(current: Manifest, spec: DatasetSpec, options: Options) -> bool:
    """Whether nothing need be read again: raw files are known, or would only be downloaded once more."""
    if options.refresh and cache.unpublished(spec):
        return False
    again = options.source is None and bool(cache.pending(spec))
    differing = any(s.expected_md5 or s.expected_sha256 for s in current.sources if not s.verified)
    return _held(current) and (pinned(current) or (again and not differing))


def _held(current: Manifest) -> bool:
    """Whether every check held that could be made."""
    return current.verified is not False or current.limit_rows is not None


def _differs(target: Path, what: str) -> UsageError:
    return UsageError(f"`{target}` was prepared {what}", hint="add `--force` to replace it")


def _prepare_in(
    workspace: Path, target: Path, spec: DatasetSpec, options: Options, current: Manifest | None
) -> Manifest:
    raw = sources.resolve(spec, options, workspace=workspace / RAW)
    if current is not None:
        if [s.sha256 for s in current.sources] != [s.sha256 for s in raw.sources]:
            raise _differs(target, "from other raw files")
        if _held(current) or not options.verify:
            options.report(Progress(UP_TO_DATE, 1, 1))
            return current
    try:
        prepared = flow.run(spec, options, raw, workspace)
    except RunFailed as error:
        if options.source is None and (doubtful := cache.unpublished(spec)):
            fetched = ", ".join(f"`{path}`" for path in doubtful)
            fix = f"{error.hint}; " if error.hint else ""
            error.hint = f"{fix}if {fetched} was not fetched well, `--refresh` fetches it again"
        raise
    folder = workspace / DATASET
    prepared.write(folder)
    publishing.publish(folder, target)
    return prepared
