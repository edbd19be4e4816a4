"""AFN and AFN+ (Cheng et al. 2020, arXiv 1909.03276): products of learned powers of embeddings.

    neuron_h = exp(Σ_i w_hi ln |x_i|) = Π_i |x_i|^w_hi          element-wise over the width

BatchNorm follows the logarithm and the exponential. AFN+ adds an MLP, by default on its own embeddings, and
a linear layer over the two logits.

Shapes: B batch, N embeddings (numeric ones included), D width, H logarithmic neurons.
"""

import torch
from torch import Tensor, nn

from wukongctl.config.model import AFNSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.layers import MLP, linear, logit_weights
from wukongctl.models.model import Model

SMALLEST = 1e-5
"""Lower bound of |x|, which keeps the logarithm finite."""


class LogarithmicLayer(nn.Module):
    """(B, N, D) → (B, D, H).

    The neurons are the last dimension, as the product leaves them: BatchNorm over any other dimension, with
    the same statistics over B and D, takes most of a step of AFN+.
    """

    def __init__(self, n: int, width: int, neurons: int) -> None:
        super().__init__()
        self.width = width
        self.log_norm = nn.BatchNorm1d(n)
        self.powers = linear(n, neurons, bias=False)
        self.exp_norm = nn.BatchNorm1d(neurons)

    def forward(self, X: Tensor) -> Tensor:
        """(B, N, D) → (B, D, H)."""
        logs = self.log_norm(X.abs().clamp(min=SMALLEST).log())  # (B, N, D)
        neurons = self.powers(logs.transpose(1, 2).flatten(0, 1)).exp()  # (B D, H)
        return self.exp_norm(neurons).unflatten(0, (-1, self.width))

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.powers.weight.numel() * self.width


class AFN(Model):
    """Batch → (B,) logits; with `hidden`, the MLP of AFN+."""

    def __init__(self, spec: AFNSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        # The two sets of embeddings of AFN+ are the halves of one table: one lookup, one gradient.
        self.sets = 2 if spec.own_embeddings and spec.hidden is not None else 1
        std = spec.embedding_init or spec.width**-0.5
        self.embeddings = FieldEmbeddings(
            schema, self.sets * spec.width, bottom=spec.bottom, init_std=std, sparse=sparse
        )
        n = self.embeddings.n
        self.logarithmic = LogarithmicLayer(n, spec.width, spec.neurons)
        self.afn = MLP(
            spec.neurons * spec.width,
            spec.afn_hidden,
            1,
            dropout=spec.afn_dropout,
            batch_norm=spec.batch_norm,
        )
        self.mlp: MLP | None = None
        if spec.hidden is not None:
            self.mlp = MLP(n * spec.width, spec.hidden, 1, dropout=spec.dropout, batch_norm=spec.batch_norm)
            self.output = MLP(2, (), 1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X = self.embeddings(batch)  # (B, N, D), or (B, N, 2 D)
        if self.mlp is None:
            return self.afn(self.logarithmic(X).flatten(1)).squeeze(1)
        X, own = X.chunk(2, dim=2) if self.sets == 2 else (X, X)
        logits = [self.afn(self.logarithmic(X).flatten(1)), self.mlp(own.flatten(1))]
        return self.output(torch.cat(logits, dim=1)).squeeze(1)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part."""
        parts = self.embeddings.macs() | {"logarithmic": self.logarithmic.macs(), "afn": self.afn.macs()}
        if self.mlp is not None:
            parts |= {"mlp": self.mlp.macs(), "output": self.output.macs()}
        return parts

    def last_weights(self) -> list[Tensor]:
        """For AFN+ only those of `output`: the logits of its two halves are inputs of that layer."""
        return logit_weights(self if self.mlp is None else self.output)
