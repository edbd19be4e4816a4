"""A finished run → exported models that score without wukongctl: torch.export, and ONNX on request.

An exported program takes `ids` (B, C) int32 and `dense` (B, M) float32, any number of rows, and returns
`logit` and `prediction`, (B,) float32. `signature.json` describes these columns, the vocabulary of each
feature and how numbers are transformed; the vocabularies are copied beside it. Every program is loaded again
and must reproduce the scores of the run before `out` appears.
"""

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wukongctl import extras
from wukongctl.config.dataset import DatasetSpec, Sequence
from wukongctl.data import publishing
from wukongctl.data.batches import BatchReader
from wukongctl.data.manifest import Manifest
from wukongctl.data.pipeline import vocabulary
from wukongctl.data.schema import Batch
from wukongctl.errors import CheckFailed, RunFailed, UsageError
from wukongctl.training.finished_run import FinishedRun, open_run
from wukongctl.training.run_folder import RunFolder

TOLERANCE = 1e-4
"""Largest difference of a logit: the order of summation depends on the kernels."""
CHECKED_ROWS = 1024
SIGNATURE = "signature.json"
Outputs = tuple[Tensor, Tensor]
Program = Callable[[Tensor, Tensor], Outputs]


class Scorer(nn.Module):
    """A model as a function of tensors: (B, C) ids and (B, M) dense → (B,) logits and probabilities."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, dense: Tensor) -> Outputs:
        """Logits and probabilities; labels are not used."""
        logits = self.model(Batch(ids, dense, labels=ids[:, 0])).float()
        return logits, torch.sigmoid(logits)


def export(run: Path, *, data: Path, out: Path, onnx: bool = False, force: bool = False) -> dict[str, Any]:
    """Write the best weights of `run` as `out/model.pt2`, with `onnx` also as `out/model.onnx`.

    `out` is written atomically; `force` replaces an earlier export. Raises UsageError for an unfinished run,
    an existing folder or a missing extra, CheckFailed for a program with other scores than the run.
    """
    if onnx:
        extras.require("`--onnx`", "onnx", "onnxruntime", "onnxscript")
    _require_free(out, force=force)
    trained = open_run(run, data=data)
    if not trained.recipe.is_network:
        raise UsageError(
            f"`{run}` is a LightGBM model, which torch cannot export",
            hint=f"`lightgbm.Booster(model_file='{RunFolder(run).trees}')` opens it without wukongctl",
        )
    scorer, sample = Scorer(trained.model).eval(), _sample(trained)
    with publishing.locked(out), publishing.building(out) as folder, _quiet():
        differences = {"model.pt2": _export_torch(scorer, sample, folder / "model.pt2")}
        if onnx:
            differences["model.onnx"] = _export_onnx(scorer, sample, folder / "model.onnx")
        signature = _signature(trained, folder)
        (folder / SIGNATURE).write_text(json.dumps(signature, indent=2) + "\n", encoding="utf-8")
        publishing.publish(folder, out)
    return {
        "run": str(run),
        "path": str(out),
        "files": sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()),
        "precision": "float32",
        "trained_in": _training_precision(trained),
        "checked_rows": len(sample.labels),
        "largest_difference": differences,
    }


def _training_precision(trained: FinishedRun) -> str:
    """The recorded precision; that of the recipe for runs of older versions."""
    execution = trained.info.execution
    return trained.recipe.precision if execution is None else execution.precision


def _sample(trained: FinishedRun) -> Batch:
    """Real rows to check a program with."""
    split = next(name for name in ("test", "valid", "train") if name in trained.manifest.splits)
    reader = BatchReader(
        trained.dataset, trained.manifest, split, batch_size=CHECKED_ROWS, shuffle=False, seed=0
    )
    return next(iter(reader.epoch(0)))


def _export_torch(scorer: Scorer, sample: Batch, path: Path) -> float:
    """Write the program; the largest difference of its logits from the model's."""
    torch.export.save(_program(scorer, sample), path)
    return _difference(scorer, torch.export.load(path).module(), sample, path)


def _export_onnx(scorer: Scorer, sample: Batch, path: Path) -> float:
    import onnxruntime

    exported = torch.onnx.export(
        _program(scorer, sample),
        dynamo=True,
        input_names=["ids", "dense"],
        output_names=["logit", "prediction"],
        verbose=False,
    )
    if exported is None:
        raise RunFailed("torch could not export this model to ONNX")
    exported.save(path)
    session = onnxruntime.InferenceSession(path)
    wanted = {node.name for node in session.get_inputs()}

    def program(ids: Tensor, dense: Tensor) -> Outputs:
        inputs = {"ids": ids.numpy(), "dense": dense.numpy()}
        logits, predictions = session.run(None, {name: inputs[name] for name in wanted})
        return torch.from_numpy(logits), torch.from_numpy(predictions)

    return _difference(scorer, program, sample, path)


def _program(scorer: Scorer, sample: Batch) -> torch.export.ExportedProgram:
    rows = torch.export.Dim("rows", min=1)
    # Two rows: export treats a dimension of one as constant.
    inputs = tuple(column[:1].repeat(2, 1) for column in (sample.ids, sample.dense))
    with torch.no_grad():
        return torch.export.export(scorer, inputs, dynamic_shapes=({0: rows}, {0: rows}))


@torch.no_grad()
def _difference(scorer: Scorer, program: Program, sample: Batch, path: Path) -> float:
    largest = 0.0
    for rows in {1, len(sample.labels)}:
        expected, _ = scorer(sample.ids[:rows], sample.dense[:rows])
        logits, predictions = program(sample.ids[:rows], sample.dense[:rows])
        difference = float((logits - expected).abs().max())
        if not difference <= TOLERANCE or not torch.allclose(
            predictions, torch.sigmoid(expected), atol=TOLERANCE
        ):
            raise CheckFailed(
                f"`{path.name}` does not reproduce the scores of the run: logits differ by {difference:.2g}"
            )
        largest = max(largest, difference)
    return largest


def _signature(trained: FinishedRun, folder: Path) -> dict[str, Any]:
    """Describe the columns of `ids` and `dense`, and copy their vocabularies.

    `select` is the SQL that turns raw rows into features, None if the recipe has none.
    """
    manifest = trained.manifest
    looked_up = [feature for feature in manifest.features if feature.table is not None and feature.of is None]
    names = [feature.name for feature in looked_up]
    owners = {feature.table: feature.name for feature in reversed(looked_up)}
    (folder / vocabulary.FOLDER).mkdir()
    for name in owners.values():
        shutil.copyfile(trained.dataset / vocabulary.file_name(name), folder / vocabulary.file_name(name))
    described = feature_encodings(manifest)
    for name in names:
        described[name]["vocabulary"] = vocabulary.file_name(owners[described[name]["table"]])
    schema = manifest.schema()
    return {
        "run": trained.info.run,
        "model": trained.recipe.model.name,
        "dataset": manifest.dataset,
        "fingerprint": manifest.fingerprint,
        "inputs": {
            "ids": [
                *schema.categorical,
                *(f"{s.name}[{index}]" for s in schema.sequences for index in range(s.max_len)),
            ],
            "dense": list(schema.dense),
        },
        "outputs": ["logit", "prediction"],
        "select": manifest.raw.select if manifest.raw is not None else manifest.recipe.get("rows"),
        "features": described,
    }


def feature_encodings(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """How values become ids and numbers, by feature.

    With a vocabulary: `missing` and `unknown`, the ids of a missing value and of one out of vocabulary. A
    sequence also has `separator`, null for lists, `keep`, and `pad`, the id that fills it up.
    """
    bars = manifest.recipe.get("compat") == "bars"
    described = {feature.name: feature.to_dict() for feature in manifest.features}
    for feature in manifest.features:
        if feature.rows is not None and feature.of is None:
            unknown = feature.rows - 1 if bars else 1
            described[feature.name] |= {"missing": unknown if bars else 0, "unknown": unknown}
    for name, group in DatasetSpec.from_dict(manifest.recipe).columns:
        if isinstance(group, Sequence):
            described[name] |= {"separator": group.separator, "keep": group.keep, "pad": 0}
    return described


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings of torch's exporters, which are for their developers."""
    logger = logging.getLogger("torch.onnx")  # says of every operator of torchvision that it is missing
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _require_free(out: Path, *, force: bool) -> None:
    if not out.exists():
        return
    if not (out / SIGNATURE).is_file():
        raise UsageError(f"`{out}` exists and is not an export", hint="name another folder with `--out`")
    if not force:
        raise UsageError(
            f"`{out}` already exists", hint="add `--force` to replace it, or name another `--out`"
        )
