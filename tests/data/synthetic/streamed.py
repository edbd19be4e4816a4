"""Generated datasets, streamed and stored, small enough that chunks end within them."""

from pathlib import Path

import pytest

from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import parse, validate
from wukongctl.data.manifest import Manifest
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.data.synthetic import stream

RECIPE = """
name: {name}
description: generated
generator:
  rows: 1000
  {kind}: true
  teacher: {teacher}
  fields: 5
  min_values: 5
  max_values: 9
  rank: 4
  variance: {{order2: 2.0}}
  {numeric}
rows: SELECT * FROM synthetic
split: {{by: order, ratio: {{train: 8, valid: 1, test: 1}}}}
label: label
probability: p
features:
  - {{type: categorical, columns: [c3, c0, c1, c2, c4]}}
  {numbers}
"""
NUMBERS = """- {type: numeric, columns: [n0], encoding: scalar+bins, bins: 7}
  - {type: numeric, columns: [n1], encoding: piecewise, transform: log1p}
  - {type: numeric, columns: [n2], standardize: false}"""
Prepared = tuple[Path, Manifest]


def shrink_chunks(patch: pytest.MonkeyPatch) -> None:
    """Chunks of 64 rows, of which two are stored."""
    for module in ("synthetic.generate", "synthetic.stream", "pipeline.encode"):
        patch.setattr(f"wukongctl.data.{module}.CHUNK", 64)
    patch.setattr(stream, "HEAD", 128)


def prepared(folder: Path, teacher: str, *, streamed: bool) -> Prepared:
    numeric = teacher == "spectrum"
    text = RECIPE.format(
        name=f"{teacher}-{streamed}",
        teacher=teacher,
        kind="stream" if streamed else "declared",
        numeric="numeric: 3" if numeric else "",
        numbers=NUMBERS if numeric else "",
    )
    spec = validate(parse(text, "own.yaml"), DatasetSpec)
    return folder / spec.name, prepare(spec, Options(folder, folder))
