"""RankMixer, TokenMixer-Large and UniMixing-Lite against their definitions, one example at a time."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.models.oracle import Array, array, assert_logits, dot, examples, fields, layer_norm, mlp
from tests.models.oracle import linear as linear_of
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.config.mixers import UniMixerSpec
from wukongctl.models.rankmixer import RankMixer, RankMixerLayer, TokenFFN
from wukongctl.models.tokenmixer_large import SMALL, TokenMixerLarge, TokenMixerLargeLayer
from wukongctl.models.tokens import TokenLinear, TokenModel, TokenNorm, TokenSwiGLU, mix_heads
from wukongctl.models.unimixer import UniMixer, UniMixerLayer, UniMixing, doubly_stochastic


def named(prefix: str) -> list[str]:
    return [name for name in CONFIGURATIONS if name.startswith(prefix)]


def token_linear(layer: TokenLinear, t: int, x: Array) -> Array:
    out = np.array([dot(column, x) for column in array(layer.weight)[t].T])
    return out if layer.bias is None else out + array(layer.bias)[t, 0]


def gelu(x: Array) -> Array:
    return np.array([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x])


def rms_norm(norm: torch.nn.Module, x: Array) -> Array:
    assert isinstance(norm, TokenNorm)
    return x / math.sqrt(sum(x**2) / len(x) + 1e-5) * array(norm.weight)


def swiglu(module: TokenSwiGLU, t: int, x: Array) -> Array:
    gate = token_linear(module.gate, t, x)
    hidden = gate / (1 + np.exp(-gate)) * token_linear(module.up, t, x)
    return token_linear(module.down, t, hidden)


def mixed(X: Array, heads: int) -> Array:
    """Mixed token h: slice h of every token, one after the other."""
    size = X.shape[1] // heads
    return np.stack([np.concatenate([x[h * size : (h + 1) * size] for x in X]) for h in range(heads)])


def reference_tokens(model: TokenModel, ids: Array, dense: Array) -> Array:
    e = fields(model.embeddings, ids, dense).reshape(-1)
    made, length = model.tokens, model.tokens.length
    rows = [] if made.all is None else [linear_of(made.all, e)]
    for t in range(made.slices):
        piece = np.zeros(length)
        given = e[t * length : (t + 1) * length]
        piece[: len(given)] = given
        rows.append(token_linear(made.local, t, piece))
    return np.stack(rows)


def assert_tokens_give(model: TokenModel, layers: NDArray[np.float64] | list[Array]) -> None:
    assert_logits(model, [mlp(model.head, np.mean(X, axis=0))[0] for X in layers])


@pytest.mark.parametrize("name", named("rankmixer"))
def test_rankmixer_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, RankMixer)
    last = []
    for ids, dense in examples(make_batch()):
        X = reference_tokens(model, ids, dense)
        for layer in model.layers:
            assert isinstance(layer, RankMixerLayer)
            S = [layer_norm(layer.mix_norm, row) for row in mixed(X, len(X)) + X]
            ffn = layer.ffn
            made = [token_linear(ffn.second, t, gelu(token_linear(ffn.first, t, s))) for t, s in enumerate(S)]
            X = np.stack([layer_norm(layer.ffn_norm, o + s) for o, s in zip(made, S, strict=True)])
        last.append(X)
    assert_tokens_give(model, last)


@pytest.mark.parametrize("name", named("tokenmixer-large"))
def test_tokenmixer_large_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, TokenMixerLarge)
    last = []
    for ids, dense in examples(make_batch()):
        passed = [reference_tokens(model, ids, dense)]
        for layer in model.layers:
            assert isinstance(layer, TokenMixerLargeLayer)
            X = passed[-1]
            H = mixed(X, layer.heads)
            H = H + [
                swiglu(layer.mixed.swiglu, h, rms_norm(layer.mixed.norm, row)) for h, row in enumerate(H)
            ]
            back, size = np.empty_like(X), X.shape[1] // layer.heads
            for t in range(len(X)):
                back[t] = np.concatenate([row[t * size : (t + 1) * size] for row in H])
            reverted = layer.reverted
            X = X + [swiglu(reverted.swiglu, t, rms_norm(reverted.norm, row)) for t, row in enumerate(back)]
            if len(passed) == 2 and len(model.layers) == 3:  # the one connection over two layers
                X = X + passed[0]
            passed.append(X)
        last.append(np.stack([rms_norm(model.norm, row) for row in passed[-1]]))
    assert_tokens_give(model, last)


def reference_sinkhorn(W: Array, temperature: float, iterations: int) -> Array:
    S = np.exp((W + W.T) / 2 / temperature)
    for _ in range(iterations):
        for i in range(len(S)):
            S[i] = S[i] / sum(S[i])
        for j in range(len(S)):
            S[:, j] = S[:, j] / sum(S[:, j])
    return S


def reference_mixing(module: UniMixing, X: Array) -> Array:
    """As the full matrix (T D, T D) of which the paper's first equations speak."""
    n, size = module.blocks, module.block
    temperature, iterations = module.temperature, module.iterations
    W_G = reference_sinkhorn(array(module.left) @ array(module.right), temperature, iterations)
    full = np.empty((n * size, n * size))
    for j in range(n):
        logits = np.zeros((size, size))
        for share, basis in zip(array(module.weights)[j], array(module.basis), strict=True):
            logits += share * basis
        local = reference_sinkhorn(logits, temperature, iterations)
        for i in range(n):
            full[i * size : (i + 1) * size, j * size : (j + 1) * size] = W_G[i, j] * local.T
    return (full @ X.reshape(-1)).reshape(X.shape)


@pytest.mark.parametrize("name", named("unimixer"))
def test_unimixer_equals_its_definition(name: str) -> None:
    model = perturbed(make(CONFIGURATIONS[name]))
    assert isinstance(model, UniMixer)
    last = []
    for ids, dense in examples(make_batch()):
        X = Y = reference_tokens(model, ids, dense)
        for layer in model.layers:
            assert isinstance(layer, UniMixerLayer)
            U = X + [rms_norm(layer.in_norm, row) for row in Y]
            inner = U + reference_mixing(layer.mix, U)
            out = [swiglu(layer.swiglu, t, rms_norm(layer.mix_norm, row)) for t, row in enumerate(inner)]
            X = np.stack([rms_norm(layer.out_norm, row) for row in X + out])
            Y = Y + out
        last.append(X + np.stack([rms_norm(model.norm, row) for row in Y]))
    assert_tokens_give(model, last)


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_mixing_matrices_are_doubly_stochastic_and_symmetric(temperature: float) -> None:
    torch.manual_seed(0)
    W = doubly_stochastic(torch.randn(3, 5, 5, dtype=torch.float64) * temperature, temperature, 200)
    assert (W > 0).all()
    for axis in (-1, -2):
        torch.testing.assert_close(W.sum(axis), torch.ones(3, 5, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(W, W.transpose(-1, -2), rtol=0, atol=1e-5)


def test_low_temperatures_do_not_overflow() -> None:
    W = torch.tensor([[5.0, -5.0], [-5.0, 5.0]], requires_grad=True)
    made = doubly_stochastic(W, 1e-3, 20)
    torch.testing.assert_close(made, torch.eye(2))
    made.square().sum().backward()
    assert W.grad is not None
    assert W.grad.isfinite().all()


def test_entries_before_the_normalization_start_with_variance_one() -> None:
    """At the default temperature."""
    torch.manual_seed(0)
    spec = UniMixerSpec(name="unimixer", tokens=16, token_width=32, rank=9, basis=4)
    module = UniMixing(spec)
    for W in (module.left @ module.right, module.weights @ module.basis.flatten(1)):
        square = W if W.shape[0] == W.shape[1] else W.unflatten(1, (spec.block, spec.block))
        entries = (square + square.transpose(-1, -2)) / 2 / spec.temperature
        assert entries.std().item() == pytest.approx(1.0, rel=0.15)


def test_reverting_undoes_mixing() -> None:
    X = torch.randn(3, 2, 8)
    for heads in (1, 2, 4, 8):
        assert mix_heads(X, heads).shape == (heads, 2, 24 // heads)
        assert torch.equal(mix_heads(mix_heads(X, heads), 3), X)


def test_a_layer_of_tokenmixer_large_starts_near_the_identity() -> None:
    """Its down weights start at a hundredth of the scale of the up weights."""
    torch.manual_seed(0)
    module = TokenSwiGLU(4, 64, 64, small=SMALL)
    assert (module.down.weight.std() / module.up.weight.std()).item() == pytest.approx(0.01, rel=0.05)
    model = make({**CONFIGURATIONS["tokenmixer-large"], "interval": None})
    assert isinstance(model, TokenMixerLarge)
    X = torch.randn(3, 5, 8)
    assert (model.layers[0](X) - X).abs().max() < 0.1


@pytest.mark.parametrize("module", [TokenFFN(3, 4, 5), TokenSwiGLU(3, 4, 5)], ids=["ffn", "swiglu"])
def test_gradients_of_the_networks_of_tokens(module: torch.nn.Module) -> None:
    X = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module.double(), X)


def test_no_token_reads_another_ones_slice() -> None:
    """The global token reads all of them; the last slice is filled up with zeros."""
    model = make({**CONFIGURATIONS["tokenmixer-large"], "tokens": 5})
    assert isinstance(model, TokenMixerLarge)
    e = torch.zeros(1, 36)
    base = model.tokens(e)
    touched = []
    for place in range(36):
        e = torch.zeros(1, 36)
        e[0, place] = 1
        touched.append(tuple((model.tokens(e) != base).any(2)[:, 0].nonzero().flatten().tolist()))
    assert touched == [(0, 1 + place // 9) for place in range(36)]
