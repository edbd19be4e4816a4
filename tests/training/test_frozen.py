"""Pretrained vectors from the prepared dataset through training, checkpoint and evaluation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_train import DATASET, recipe, silent
from wukongctl.config.dataset import DatasetSpec
from wukongctl.data import manifest
from wukongctl.data.options import Options
from wukongctl.data.prepare import prepare
from wukongctl.errors import RunFailed
from wukongctl.models import build
from wukongctl.training import checkpoint, optimizers
from wukongctl.training.evaluate import evaluate
from wukongctl.training.train import train


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The tiny dataset with two numbers for each value of `c0`."""
    prepare(DatasetSpec.from_dict(DATASET), Options(tmp_path, out=tmp_path))
    folder = tmp_path / "tiny"
    prepared = manifest.read(folder)
    (c0,) = (feature for feature in prepared.features if feature.name == "c0")
    assert c0.rows is not None
    vectors = np.random.default_rng(0).normal(size=(c0.rows, 2)).astype(np.float32)
    vectors[:2] = 0
    (folder / "vectors").mkdir()
    np.save(folder / "vectors" / "c0.npy", vectors)
    frozen = c0.model_copy(update={"vectors": "vectors/c0.npy", "vector_dim": 2})
    features = tuple(frozen if feature is c0 else feature for feature in prepared.features)
    prepared.model_copy(update={"features": features}).write(folder)
    return tmp_path


def test_training_changes_the_projection_but_not_the_vectors(data: Path, tmp_path: Path) -> None:
    file = data / "tiny" / "vectors" / "c0.npy"
    before = file.read_bytes()
    outcome = train(recipe(epochs=1), data=data, out=tmp_path / "runs", report=silent)
    assert file.read_bytes() == before
    kept = checkpoint.load(outcome.folder / "checkpoints" / "best.pt")["model"]
    assert kept["embeddings.frozen.0.projection.weight"].shape == (4, 2)
    rows = manifest.read(data / "tiny").schema().table_rows
    assert kept["embeddings.table.weight"].shape == (sum(rows[1:]), 4)
    assert outcome.info.params.embedding == 4 * sum(rows[1:])
    again = evaluate(outcome.folder, "test", data=data)
    assert again["logloss"] == pytest.approx(outcome.result.metrics["test"]["logloss"], rel=1e-6)


def test_no_optimizer_has_frozen_vectors(data: Path) -> None:
    schema = manifest.read(data / "tiny").schema()
    spec = recipe(optimizer={"embedding": {"name": "adam", "l2": 0.1}})
    model = build(spec.model, schema, sparse=False, vectors={0: torch.zeros(schema.table_rows[0], 2)})
    held = [
        parameter
        for optimizer in optimizers.build(spec.optimizer, model).values()
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert sum(parameter.numel() for parameter in held) == sum(p.numel() for p in model.parameters())
    learned = build(spec.model, replace(schema, vector_dims=()), sparse=False)
    saved = 4 * schema.table_rows[0] - 4 * 2
    assert sum(p.numel() for p in learned.parameters()) - sum(p.numel() for p in held) == saved


def test_a_missing_file_is_reported_before_training(data: Path, tmp_path: Path) -> None:
    (data / "tiny" / "vectors" / "c0.npy").unlink()
    with pytest.raises(RunFailed, match=r"vectors/c0\.npy` is missing"):
        train(recipe(), data=data, out=tmp_path / "runs", report=silent)
