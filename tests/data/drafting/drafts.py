"""Tables written to files, and their drafts prepared and trained."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.training import TrainingSpec
from wukongctl.data.drafting.draft import Draft
from wukongctl.data.manifest import Manifest
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.training.train import train

Table = dict[str, list[Any]]


def records(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def write(table: Table, path: Path) -> None:
    """By the ending of `path`."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.table(table), path)
        return
    if name.endswith(".json"):
        text = json.dumps(records(table), default=str)
    elif name.endswith(".jsonl"):
        text = "\n".join(json.dumps(record, default=str) for record in records(table))
    else:
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="\t" if name.endswith(".tsv") else ",")
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
        text = buffer.getvalue()
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def spec_of(result: Draft) -> DatasetSpec:
    return validate(parse(result.text, "result.yaml"), DatasetSpec)


def prepared(result: Draft, folder: Path) -> Manifest:
    return prepare(spec_of(result), Options(folder, out=folder / "data", force=True))


def trained(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """One epoch of a tiny model on what was prepared."""
    recipe = {
        "data": manifest.dataset,
        "model": {
            "name": "wukong",
            "width": 2,
            "layers": 1,
            "n_F": 1,
            "n_L": 1,
            "k": 1,
            "hidden": [2],
            "head": [2],
        },
        "batch_size": 64,
        "epochs": 1,
        "threads": 1,
    }
    spec = TrainingSpec.from_dict(recipe)
    outcome = train(spec, data=folder / "data", out=folder / "runs", force=True, report=lambda at: None)
    return outcome.result.to_dict()


def remarks(result: Draft) -> tuple[str, ...]:
    """Remarks, except that there are few rows or positives."""
    return tuple(remark for remark in result.remarks if "too few to" not in remark)


def uses(result: Draft) -> dict[str, str]:
    return {role.column.name: role.kind for role in result.roles}
