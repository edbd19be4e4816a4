"""Every key of every model page does something: another value makes another model."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel

from tests.models.zoo import make, make_batch
from wukongctl.config.model import FeatureSelection, NetworkSpec, Stream
from wukongctl.config.training import TrainingSpec
from wukongctl.config.wukong import Attention, Group
from wukongctl.models import Model

ALL = {"width": 5, "embedding_init": 0.3, "logit_scale": 0.5}
DEEP = ALL | {"dropout": 0.5}
FIELDS = ALL | {"bottom": [3]}
DEEP_FIELDS = DEEP | FIELDS
MLP = {"hidden": [3, 4], "batch_norm": True}
STREAM = {"hidden": [6], "dropout": 0.5, "batch_norm": False}

BASES: dict[str, dict[str, Any]] = {
    "wukong": {"projection": "attentive"},
    "masknet": {"hidden": [8]},
    "finalmlp": {"mlp1": {"hidden": [4]}, "mlp2": {"hidden": [4]}, "heads": 2, "selection": {"hidden": [3]}},
    "autoint": {"attention_width": 8},
}
"""What is changed, where it is not the default."""
CHANGES: dict[str, dict[str, Any]] = {
    "wukong": DEEP | {
        "layers": 1, "n_F": 4, "n_L": 4, "k": 4, "projection": "static", "hidden": [9], "bottom": [9],
        "attention": {"rows": 3, "hidden": [9]}, "dense_embeddings": 2, "embeddings_per_feature": {"a": 2},
        "groups": {"features": ["a"], "width": 3, "hidden": [7], "embeddings": 2}, "head": [9], "bias": False,
        "ablate": ["lcb"],
    },
    "fm": ALL,
    "deepfm": DEEP | MLP,
    "dlrm": DEEP | {"bottom": [9], "top": [9], "interaction": "cat", "batch_norm": True},
    "dcnv2": DEEP_FIELDS | MLP | {"cross_layers": 2, "rank": 3, "structure": "stacked"},
    "autoint": DEEP_FIELDS | MLP | {
        "attention_layers": 2, "attention_width": 6, "heads": 4, "scale": False, "residual": False,
        "layer_norm": True, "linear": True, "structure": "stacked", "value_hidden": [3], "layer_hidden": [3],
        "pyramid": 2,
    },
    "afn": DEEP_FIELDS | MLP | {
        "neurons": 3, "afn_hidden": [3], "afn_dropout": 0.5, "own_embeddings": False,
    },
    "finalmlp": FIELDS | {
        "mlp1": STREAM, "mlp2": STREAM, "heads": 1,
        "selection": {"hidden": [5], "context1": ["a"], "context2": ["b"]},
    },
    "masknet": DEEP_FIELDS | {
        "structure": "serial", "hidden": [3], "blocks": 2, "block_width": 3, "reduction": 2.0,
        "layer_norm": False, "embedding_norm": True,
    },
    "xdeepfm": DEEP | MLP | {"cin": [3]},
    "mlp": DEEP | MLP,
}  # fmt: skip
"""Another value for every key of every page, pages inside pages included."""
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
    base = {"name": name, **BASES.get(name, {})}
    if part is None:
        return make(base), make({**base, key: value})
    if key == "groups":
        base["groups"] = [GROUP]
        return make(base), make({**base, "groups": [{**GROUP, part: value}]})
    page = base.get(key, {})
    return make(base), make({**base, key: {**page, part: value}})


def behaviour(model: Model) -> tuple[list[Any], torch.Tensor]:
    """Shapes of the weights, and what the model makes of a batch in training."""
    batch = make_batch(32)
    torch.manual_seed(4)
    return [(name, weight.shape) for name, weight in model.state_dict().items()], model.train()(batch)


@pytest.mark.parametrize(("name", "key", "part", "value"), [*cases()])
def test_a_key_changes_the_model(name: str, key: str, part: str | None, value: object) -> None:
    if (name, key) == ("fm", "logit_scale"):
        pytest.skip("it has no layer that makes the logit, as the key says")
    (shapes, logits), (other_shapes, other_logits) = map(behaviour, changed(name, key, part, value))
    assert shapes != other_shapes or not torch.allclose(logits, other_logits, atol=1e-6)


def test_no_key_is_left_out() -> None:
    known = {case.id for case in cases()}
    for name in CHANGES:
        spec = type(TrainingSpec.from_dict({"data": "x", "model": {"name": name}}).model)
        assert known >= {f"{name}.{key}" for key in keys(spec)}, name
    assert len(CHANGES) == len(get_args(NetworkSpec))


def keys(page: type[BaseModel]) -> Iterator[str]:
    for key in page.model_fields.keys() - {"name"}:
        inside = NESTED.get(key)
        yield from (key,) if inside is None else (f"{key}.{part}" for part in inside.model_fields)
