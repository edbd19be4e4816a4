"""Every training recipe that ships builds on the columns of its dataset, and costs what its formula says."""

import pytest
import torch

from wukongctl.config import library
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load, read
from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import schema_from_recipe
from wukongctl.models import build
from wukongctl.models.counts import count
from wukongctl.scaling.tracing import trace

RECIPES = [name for name in library.names() if {"model", "data"} <= set(read(library.find(name)).value)]
MODELS = {
    "afn",
    "autoint",
    "dcnv2",
    "deepfm",
    "dlrm",
    "finalmlp",
    "fm",
    "masknet",
    "mlp",
    "wukong",
    "xdeepfm",
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_fits_its_dataset(name: str) -> None:
    spec = load(library.find(name), TrainingSpec)
    schema = schema_from_recipe(load(library.find(spec.data, "datasets"), DatasetSpec))
    with torch.device("meta"):
        model = build(spec.model, schema, sparse=False)
        assert trace(model, schema).macs == count(model).macs


@pytest.mark.parametrize("data", ["frappe", "synthetic"])
def test_there_is_a_recipe_for_every_model(data: str) -> None:
    named = {name.removeprefix(f"{data}/") for name in RECIPES if name.startswith(f"{data}/")}
    assert named >= MODELS
