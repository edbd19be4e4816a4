"""Raw files → a prepared dataset: verify, count vocabularies on train, encode, check, publish.

The dataset appears once it is complete and checked. An existing one is replaced only with `force`.
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
"""The stage reported when there is nothing to do."""


def prepare(spec: DatasetSpec, options: Options) -> Manifest:
    """Prepare `spec` in `options.out / spec.name`, unless that is done, and return its manifest.

    Raises CheckFailed for a checksum or row-count mismatch, UsageError for an invalid recipe or path or
    another dataset at the target, RunFailed for raw data that cannot be read.
    """
    require_memory_limit(options.memory_limit)
    keys.require(spec)
    target = options.out / spec.name
    with interruptible(spec.name), publishing.locked(target, options.report):
        current = _existing(target, spec, options)
        if current is not None and _is_current(current, spec, options):
            options.report(Progress(UP_TO_DATE, 1, 1))
            return current
        with publishing.building(target) as workspace:
            try:
                return _prepare_in(workspace, target, spec, options, current)
            except OSError as error:
                reason = os.strerror(error.errno).lower() if error.errno else str(error)
                raise RunFailed(
                    f"cannot write `{target}`: {reason}",
                    hint="nothing was changed; free some space and retry",
                ) from error


class PreparePlan(TypedDict):
    """What `prepare` would do; `steps` are for display."""

    dataset: str
    path: str
    state: Literal["absent", "prepared", "different"]
    steps: list[str]
    sql: list[str]


def plan(spec: DatasetSpec, options: Options) -> PreparePlan:
    """What `prepare` would read, download and run, without writing anything.

    Raises what `prepare` would before its first download: for a split key that reads the label, another
    dataset at the target, and local files that are missing or not the published ones.
    """
    keys.require(spec)
    target = options.out / spec.name
    current = _existing(target, spec, options)
    is_current = current is not None and _is_current(current, spec, options)
    if not is_current:
        sources.check_local(spec, options)
    queries = [query.strip() for query in spec.queries]
    is_done = is_current or (current is not None and not options.refresh)
    steps = [f"nothing: `{target}` is already prepared"] if is_done else _steps(spec, options, queries)
    state: Literal["absent", "prepared", "different"] = "different" if target.exists() else "absent"
    return PreparePlan(
        dataset=spec.name, path=str(target), state="prepared" if current else state, steps=steps, sql=queries
    )


def _steps(spec: DatasetSpec, options: Options, queries: list[str]) -> list[str]:
    """The steps of a first preparation, one line each."""
    steps = [f"license: {spec.license.name}"] if spec.license is not None else []
    steps += sources.plan(spec, options)
    if spec.generator is not None:
        rows = min(spec.generator.rows, options.limit_rows or spec.generator.rows)
        less = ", of which train rows are drawn while training" if spec.generator.stream else ""
        steps.append(f"generate {rows:,} rows{less}")
    return steps + [f"run {query}" for query in queries]


def _existing(target: Path, spec: DatasetSpec, options: Options) -> Manifest | None:
    """The manifest at `target`; UsageError if it was prepared from another recipe or row limit."""
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
        same_limit = current.limit_rows == options.limit_rows
        raise _differs(target, "from another recipe" if same_limit else "with another `--limit-rows`")
    return current


def _is_current(current: Manifest, spec: DatasetSpec, options: Options) -> bool:
    """Whether raw files need not be read again: all are verified, or would have to be downloaded."""
    if options.refresh and cache.without_checksum(spec):
        return False
    unverified = [source for source in current.sources if not source.verified]
    mismatch = any(source.expected_md5 or source.expected_sha256 for source in unverified)
    would_download = options.source is None and bool(cache.pending(spec))
    return _passed(current) and (not unverified or (would_download and not mismatch))


def _passed(current: Manifest) -> bool:
    """Whether all checks passed that apply."""
    return current.verified is not False or current.limit_rows is not None


def _differs(target: Path, what: str) -> UsageError:
    return UsageError(
        f"`{target}` was prepared {what}",
        hint="add `--force` to replace it, or give the recipe another `name`",
    )


def _prepare_in(
    workspace: Path, target: Path, spec: DatasetSpec, options: Options, current: Manifest | None
) -> Manifest:
    raw = sources.resolve(spec, options, workspace=workspace / RAW)
    if current is not None:
        if [s.sha256 for s in current.sources] != [s.sha256 for s in raw.sources]:
            raise _differs(target, "from other raw files")
        if _passed(current) or not options.verify:
            options.report(Progress(UP_TO_DATE, 1, 1))
            return current
    try:
        prepared = flow.run(spec, options, raw, workspace)
    except RunFailed as error:
        if options.source is None and (unverified := cache.without_checksum(spec)):
            listed = ", ".join(f"`{path}`" for path in unverified)
            fix = f"{error.hint}; " if error.hint else ""
            error.hint = f"{fix}if {listed} is corrupt, `--refresh` downloads it again"
        raise
    folder = workspace / DATASET
    prepared.write(folder)
    publishing.publish(folder, target)
    return prepared
