"""Reference layers for one example, in NumPy with loops."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tests.models.zoo import double, make_batch
from wukongctl.data.schema import Batch
from wukongctl.models import Model
from wukongctl.models.embeddings import FieldEmbeddings, NumericEmbedding

Array = NDArray[np.float64]


def array(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)


def dot(a: Array, b: Array) -> float:
    assert a.shape == b.shape
    total = 0.0
    for x, y in zip(a, b, strict=True):
        total += x * y
    return total


def linear(layer: nn.Module, x: Array) -> Array:
    assert isinstance(layer, nn.Linear)
    out = np.array([dot(row, x) for row in array(layer.weight)])
    return out if layer.bias is None else out + array(layer.bias)


def relu(x: Array) -> Array:
    return np.array([max(value, 0.0) for value in x])


def sigmoid(x: Array) -> Array:
    return np.array([1 / (1 + np.exp(-value)) for value in x])


def layer_norm(norm: nn.Module, x: Array) -> Array:
    assert isinstance(norm, nn.LayerNorm)
    return normalized(x) * array(norm.weight) + array(norm.bias)


def normalized(x: Array) -> Array:
    mean = sum(x) / len(x)
    variance = sum((value - mean) ** 2 for value in x) / len(x)
    return (x - mean) / np.sqrt(variance + 1e-5)


def batch_norm(norm: nn.Module, channel: int, x: float) -> float:
    """One value of one channel, with the running statistics."""
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean[channel].item(), norm.running_var[channel].item()
    scale, shift = norm.weight[channel].item(), norm.bias[channel].item()
    return (x - mean) / np.sqrt(variance + norm.eps) * scale + shift


def mlp(module: nn.Module, x: Array) -> Array:
    steps = module.steps
    assert isinstance(steps, nn.Sequential)
    for step in steps:
        match step:
            case nn.Linear():
                x = linear(step, x)
            case nn.BatchNorm1d():
                x = np.array([batch_norm(step, channel, value) for channel, value in enumerate(x)])
            case nn.ReLU():
                x = relu(x)
            case _:
                assert isinstance(step, nn.Dropout)
    return x


def matrix(weight: torch.Tensor, X: Array) -> Array:
    """Weights (M, N) times rows (N, D), element by element."""
    W = array(weight)
    return np.array([[dot(row, column) for column in X.T] for row in W])


def fields(embeddings: FieldEmbeddings, ids: Array, dense: Array) -> Array:
    """Embeddings of one example of `zoo.SCHEMA`: a, b, mean of s, mean of t, x, y."""
    table = array(embeddings.table.weight)
    rows = [table[ids[0]], table[5 + ids[1]]]
    for values, offset in ((ids[2:5], 9), (ids[5:7], 0)):
        used = [table[offset + value] for value in values if value > 0]
        rows.append(np.mean(used, axis=0) if used else np.zeros(table.shape[1]))
    if isinstance(embeddings.numeric, NumericEmbedding):
        rows += [
            value * vector for value, vector in zip(dense, array(embeddings.numeric.weight), strict=True)
        ]
    elif embeddings.numeric is not None:
        rows.append(mlp(embeddings.numeric.mlp, dense))
    return np.stack(rows)


def examples(batch: Batch) -> list[tuple[Array, Array]]:
    """Ids and numeric values of each example."""
    return list(zip(batch.ids.numpy(), double(batch).dense.numpy(), strict=True))


def assert_logits(model: Model, expected: list[float]) -> None:
    """`model` gives these logits for `make_batch()`: to 1e-10 in double, to 1e-5 in single precision."""
    batch = make_batch()
    np.testing.assert_allclose(array(model(double(batch))), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(array(model.float()(batch)), expected, rtol=1e-5, atol=1e-5)
