"""Every key of every model section has an effect: another value gives another model."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel

from tests.models.zoo import CHANGES, REDUCED, make, make_batch
from wukongctl.config.model import FeatureSelection, NetworkSpec, Stream
from wukongctl.config.training import TrainingSpec
from wukongctl.config.wukong import Attention, Group
from wukongctl.models import Model

NESTED: dict[str, type[BaseModel]] = {
    "attention": Attention, "groups": Group, "mlp1": Stream, "mlp2": Stream, "selection": FeatureSelection,
}  # fmt: skip
GROUP = {"features": ["b", "t"]}


def cases() -> Iterator[Any]:
    for name, changes in CHANGES.items():
        for key, value in changes.items():
            inner = value if isinstance(value, dict) and key != "embeddings_per_feature" else {None: value}
            for part, other in inner.items():
                yield pytest.param(name, key, part, other, id=".".join(filter(None, (name, key, part))))


def changed(name: str, key: str, part: str | None, value: object) -> tuple[Model, Model]:
    base = {"name": name, **REDUCED.get(name, {})}
    if part is None:
        return make(base), make({**base, key: value})
    if key == "groups":
        base["groups"] = [GROUP]
        return make(base), make({**base, "groups": [{**GROUP, part: value}]})
    section = base.get(key, {})
    return make(base), make({**base, key: {**section, part: value}})


def behaviour(model: Model) -> tuple[list[Any], torch.Tensor]:
    """Shapes of the weights, and the output for a batch in training."""
    batch = make_batch(32)
    torch.manual_seed(4)
    return [(name, weight.shape) for name, weight in model.state_dict().items()], model.train()(batch)


@pytest.mark.parametrize(("name", "key", "part", "value"), [*cases()])
def test_a_key_changes_the_model(name: str, key: str, part: str | None, value: object) -> None:
    if (name, key) == ("fm", "logit_scale"):
        pytest.skip("it has no layer that makes the logit, as the key says")
    (shapes, logits), (other_shapes, other_logits) = map(behaviour, changed(name, key, part, value))
    assert shapes != other_shapes or not torch.allclose(logits, other_logits, atol=1e-6)


def test_every_key_is_tested() -> None:
    known = {case.id for case in cases()}
    for name in CHANGES:
        spec = type(TrainingSpec.from_dict({"data": "x", "model": {"name": name}}).model)
        assert known >= {f"{name}.{key}" for key in keys(spec)}, name
    assert len(CHANGES) == len(get_args(NetworkSpec))


def keys(section: type[BaseModel]) -> Iterator[str]:
    for key in section.model_fields.keys() - {"name"}:
        inside = NESTED.get(key)
        yield from (key,) if inside is None else (f"{key}.{part}" for part in inside.model_fields)
