"""Counting a model without running it."""

import pytest
import torch

from tests.models import zoo
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.counting import count_spec
from wukongctl.models import build
from wukongctl.models.counts import count


@pytest.mark.parametrize("name", zoo.CONFIGURATIONS)
def test_counts_are_those_of_the_real_model(name: str) -> None:
    spec = TrainingSpec.from_dict({"data": "x", "model": zoo.CONFIGURATIONS[name]}).model
    assert count_spec(spec, zoo.SCHEMA) == count(build(spec, zoo.SCHEMA, sparse=False))


def test_afterwards_weights_have_values() -> None:
    spec = TrainingSpec.from_dict({"data": "x", "model": {"name": "wukong"}}).model
    count_spec(spec, zoo.SCHEMA)
    assert torch.randn(100).std() > 0.5
    assert all(weight.isfinite().all() for weight in build(spec, zoo.SCHEMA, sparse=False).parameters())
