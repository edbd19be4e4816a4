"""Networks and their cost, from every kind of recipe."""

from typing import Any

import pytest
import torch

import wukongctl as wk
from tests.api.conftest import RECIPE, Made
from wukongctl.config.model import FMSpec
from wukongctl.errors import RecipeError, UsageError

MLP = RECIPE["model"]


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ("wukong", "Wukong"),
        ({"model": MLP}, "MLPModel"),
        (FMSpec(name="fm", width=4), "FM"),
        ("frappe/dcnv2", "DCNv2"),
    ],
)
def test_a_network_of_any_recipe_takes_a_batch(recipe: Any, kind: str, made: Made) -> None:
    network = wk.build(recipe, made.dataset, seed=0)
    assert type(network).__name__ == kind
    batch = next(iter(made.dataset.batches("valid", batch_size=8)))
    assert network(batch).shape == (8,)


def test_overrides_and_the_seed_count(made: Made) -> None:
    first, again, wider = (
        wk.build({"model": MLP}, made.dataset, seed=1, **overrides)
        for overrides in ({}, {}, {"model.width": 8})
    )
    weights = [network.state_dict()["embeddings.table.weight"] for network in (first, again, wider)]
    assert torch.equal(weights[0], weights[1])
    assert weights[2].shape == (weights[0].shape[0], 8)


def test_flops_of_the_dataset_and_of_a_shipped_recipe(made: Made) -> None:
    report = wk.flops(RECIPE, made.dataset)
    assert report.counts.macs == report.traced_macs == 80
    assert report.counts.gflop == made.run.info.gflop
    assert report.embedding_rows_known
    assert wk.flops("frappe/fm").counts.macs == 0
    assert wk.flops(made.run.recipe, made.dataset).counts == report.counts


def test_problems_have_the_key_and_no_line(made: Made) -> None:
    with pytest.raises(RecipeError) as error:
        wk.build({"model": {"name": "mlp", "widht": 4}}, made.dataset)
    assert error.value.__notes__ == ["recipe: unknown key `widht` (did you mean `width`?)"]
    with pytest.raises(RecipeError) as error:
        wk.flops(RECIPE, made.dataset, **{"model.width": "wide"})
    assert error.value.__notes__[0].startswith("model.width='wide': `model.width` is `wide`, expected")
    with pytest.raises(RecipeError) as error:  # a key that does not fit the data
        wk.build({"model": {"name": "finalmlp", "selection": {"context1": ["nope"]}}}, made.dataset)
    assert "`nope`" in error.value.__notes__[0]
    with pytest.raises(UsageError, match="there is no recipe `wukon`"):
        wk.build("wukon", made.dataset)
    with pytest.raises(UsageError, match="not a network"):
        wk.flops("lightgbm", made.dataset)
