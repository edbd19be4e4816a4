"""Tables scaled to a number of weights."""

import pytest

from tests.models import zoo
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.sizes import with_embedding_params
from wukongctl.cost.traced import TracedModel
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError


def recipe(**keys: object) -> TrainingSpec:
    return TrainingSpec.from_dict({"data": "x", "model": keys})


@pytest.mark.parametrize("name", ["wukong-groups", "wukong-pyramid", "afn-plus", "fm", "finalmlp-context"])
def test_the_model_has_as_many_weights(name: str) -> None:
    spec = recipe(**zoo.CONFIGURATIONS[name])
    schema = with_embedding_params(spec, zoo.SCHEMA, 10**12)
    assert TracedModel(spec, schema).counts.embedding_params == pytest.approx(1e12, rel=1e-6)


def test_tables_keep_their_proportions_and_frozen_ones_their_size() -> None:
    scaled = with_embedding_params(
        recipe(name="fm", width=3), Schema(("a", "b"), (), (), (10, 30)), 40 * 4 * 50
    )
    assert scaled.table_rows == (500, 1500)
    frozen = with_embedding_params(recipe(name="mlp"), zoo.FROZEN, 10**6)
    assert frozen.table_rows[1:] == zoo.FROZEN.table_rows[1:]
    assert frozen.table_rows[0] > zoo.FROZEN.table_rows[0]


def test_a_model_without_tables_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="needs categorical features"):
        with_embedding_params(recipe(name="mlp"), Schema((), ("x",), (), ()), 100)
