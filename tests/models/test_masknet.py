import numpy as np
import pytest
import torch

from tests.models.oracle import (
    Array,
    array,
    assert_logits,
    examples,
    fields,
    layer_norm,
    linear,
    mlp,
    normalized,
    relu,
)
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.config.model import MaskNetSpec
from wukongctl.models.masknet import FieldNorm, MaskBlock, MaskNet


def reference_block(block: MaskBlock, e: Array, h: Array) -> Array:
    mask = mlp(block.mask, e)
    return relu(layer_norm(block.norm, linear(block.hidden, mask * h)))


@pytest.mark.parametrize("name", ["masknet-serial", "masknet-parallel", "masknet-bottom"])
def test_model_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, MaskNet)
    expected = []
    for ids, dense in examples(make_batch()):
        X = fields(model.embeddings, ids, dense)
        e = h = X.reshape(-1)
        if isinstance(model.norm, FieldNorm):
            weight, bias = array(model.norm.weight), array(model.norm.bias)
            h = np.concatenate([normalized(X[i]) * weight[i] + bias[i] for i in range(len(X))])
        outputs = []
        for block in model.blocks:
            assert isinstance(block, MaskBlock)
            outputs.append(reference_block(block, e, h))
            if model.serial:
                h = outputs[-1]
        expected.append(mlp(model.output, h if model.serial else np.concatenate(outputs))[0])
    assert_logits(model, expected)


def test_gradients_of_a_block() -> None:
    torch.manual_seed(0)
    block = MaskBlock(MaskNetSpec(name="masknet", reduction=1.5), 5, 4, 3).double()
    inputs = (torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (5, 4))
    assert torch.autograd.gradcheck(block, tuple(inputs))
