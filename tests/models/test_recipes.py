"""Every shipped training recipe builds on the columns of its dataset, and its cost equals its formula."""

from functools import cache

import pytest
import torch

from tests.config.shipped import keys_of
from wukongctl.config import library
from wukongctl.config.dataset import DatasetSpec
from wukongctl.config.loading import load
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.tracing import trace
from wukongctl.data.schema import Batch, Schema, schema_from_recipe
from wukongctl.models import Model, build
from wukongctl.models.counts import count

RECIPES = [name for name in library.names() if {"model", "data"} <= keys_of(name)]
MODELS = {
    "afn",
    "autoint",
    "dcnv2",
    "deepfm",
    "dlrm",
    "finalmlp",
    "fm",
    "lightgbm",
    "masknet",
    "mlp",
    "rankmixer",
    "tokenmixer_large",
    "unimixer",
    "wukong",
    "xdeepfm",
}


NETWORKS = [name for name in RECIPES if not name.endswith("/lightgbm")]


@cache
def schema_of(dataset: str) -> Schema:
    return schema_from_recipe(load(library.find(dataset, "datasets"), DatasetSpec))


def on_meta(name: str) -> tuple[Model, Schema]:
    spec = load(library.find(name), TrainingSpec)
    with torch.device("meta"):
        return build(spec.model, schema_of(spec.data), sparse=False), schema_of(spec.data)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recipe_fits_its_dataset(name: str) -> None:
    assert count(on_meta(name)[0]).embedding_params > 0


def one_size_per_ladder() -> list[object]:
    """Other sizes of a ladder, such as `wukong-2`, are slow: `tests/cost` traces every model anyway."""
    seen: set[str] = set()
    found: list[object] = []
    for name in NETWORKS:
        ladder = name.rstrip("0123456789")
        found.append(pytest.param(name, marks=[pytest.mark.slow] if ladder in seen else []))
        seen.add(ladder)
    return found


@pytest.mark.parametrize("name", one_size_per_ladder())
def test_a_recipe_costs_what_its_formula_says(name: str) -> None:
    model, schema = on_meta(name)
    with torch.device("meta"):
        assert trace(model, schema).macs == count(model).macs


@pytest.mark.parametrize("data", ["frappe", "synthetic"])
def test_there_is_a_recipe_for_every_model(data: str) -> None:
    named = {name.removeprefix(f"{data}/") for name in RECIPES if name.startswith(f"{data}/")}
    assert named >= MODELS


def test_dlrm_and_mlp_are_one_network_on_frappe() -> None:
    """Concatenated embeddings without numbers: a search of one is a search of both."""
    schema = schema_of("frappe")
    batch = Batch(torch.randint(0, 3, (64, 10)).int(), torch.empty(64, 0), torch.empty(64))
    logits = []
    for name in ("dlrm", "mlp"):
        torch.manual_seed(0)
        spec = load(library.find(f"frappe/{name}"), TrainingSpec)
        logits.append(build(spec.model, schema, sparse=False).eval()(batch))
    assert logits[0].std() > 0
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=0)
