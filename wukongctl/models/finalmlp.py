"""FinalMLP (Mao et al. 2023, arXiv 2304.00902): two MLP streams, gated inputs, bilinear fusion.

    g_i   = 2 sigmoid(MLP_i(context_i))                             feature selection
    o_i   = stream_i(g_i * e)
    logit = w_1ᵀ o_1 + w_2ᵀ o_2 + b + Σ_h o_1hᵀ W_h o_2h            heads h split o_1 and o_2

Shapes: B batch, N embeddings (numeric ones included), D width, H heads.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wukongctl.config.model import FeatureSelection, FinalMLPSpec
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.layers import MLP
from wukongctl.models.lookups import id_features, matching, require_features
from wukongctl.models.model import Model


class Fusion(nn.Module):
    """(B, first), (B, second) → (B,): a linear and a multi-head bilinear form of two stream outputs."""

    def __init__(self, first: int, second: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first = MLP(first, (), 1)
        self.second = MLP(second, (), 1)
        self.weight = nn.Parameter(torch.randn(heads, first // heads, second // heads))
        with torch.no_grad():  # the sum of H bilinear forms starts at the scale of one input
            self.weight.mul_((first * second / heads) ** -0.5)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, first), (B, second) → (B,)."""
        left = first.unflatten(1, (self.heads, 1, -1))  # (B, H, 1, first / H)
        right = second.unflatten(1, (self.heads, -1, 1))  # (B, H, second / H, 1)
        # One product per head, with the batch as rows: W_h is not copied for each example.
        mapped = torch.matmul(left.squeeze(2).transpose(0, 1), self.weight).transpose(0, 1)
        bilinear = torch.matmul(mapped.unsqueeze(2), right).sum((1, 2, 3))  # (B,)
        return (self.first(first) + self.second(second)).squeeze(1) + bilinear

    def macs(self) -> int:
        """Multiply-accumulates per example."""
        return self.first.macs() + self.second.macs() + self.weight.numel() + self.second.widths[0]


class Gate(nn.Module):
    """2 sigmoid(MLP(context)): (B, context) → (B, N D).

    Without a context the MLP reads `width` learned numbers, the same for every example. As in FuxiCTR they
    start at zero, like the biases, so after a hidden layer only the last bias has a gradient, which suffices
    for a constant (decision 0130).
    """

    def __init__(self, context: int, hidden: Sequence[int], outputs: int, *, width: int) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(1, width)) if context == 0 else None
        self.mlp = MLP(context or width, hidden, outputs)

    def forward(self, context: Tensor) -> Tensor:
        """(B, context) → (B, N D)."""
        if self.constant is not None:
            context = self.constant.expand(context.shape[0], -1)
        return 2 * torch.sigmoid(self.mlp(context))


class FinalMLP(Model):
    """Batch → (B,) logits; `selection: null` leaves out the gates.

    A context is a list of features, each with a further embedding.
    """

    def __init__(self, spec: FinalMLPSpec, schema: Schema, *, sparse: bool = False) -> None:
        super().__init__()
        contexts = _contexts(spec.selection, (*id_features(schema), *schema.dense))
        names = (*contexts[0], *contexts[1])
        self.embeddings = FieldEmbeddings(
            schema,
            spec.width,
            bottom=spec.bottom,
            repeated=names,
            init_std=spec.embedding_init,
            sparse=sparse,
        )
        inputs = self.embeddings.n * spec.width
        self.gates = nn.ModuleList()
        if spec.selection is not None:
            self.gates.extend(
                Gate(len(context) * spec.width, spec.selection.hidden, inputs, width=spec.width)
                for context in contexts
            )
        self.streams = nn.ModuleList(
            MLP(inputs, stream.hidden, None, dropout=stream.dropout, batch_norm=stream.batch_norm)
            for stream in (spec.mlp1, spec.mlp2)
        )
        self.fusion = Fusion(spec.mlp1.hidden[-1], spec.mlp2.hidden[-1], spec.heads)
        # Repeated embeddings come ids first, then numeric and piecewise, each kind in the given order.
        kinds = [(name in schema.dense) + (name in schema.piecewise) for name in names]
        order = sorted(range(len(names)), key=kinds.__getitem__)
        places = [self.embeddings.n + order.index(index) for index in range(len(names))]
        # Buffers: indexing by a list would copy it to the device at every forward pass.
        for name, part in (("places1", places[: len(contexts[0])]), ("places2", places[len(contexts[0]) :])):
            self.register_buffer(name, torch.tensor(part, dtype=torch.int64), persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        """(B, C) ids and (B, M) dense values → (B,) logits."""
        X = self.embeddings(batch)  # (B, N + contexts, D)
        e = X[:, : self.embeddings.n].flatten(1)  # (B, N D)
        inputs = [e, e]
        if self.gates:
            contexts = [X.index_select(1, places).flatten(1) for places in (self.places1, self.places2)]
            inputs = [gate(context) * e for gate, context in zip(self.gates, contexts, strict=True)]
        first, second = (stream(x) for stream, x in zip(self.streams, inputs, strict=True))
        return self.fusion(first, second)  # (B,)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates per example, by part."""
        parts = self.embeddings.macs()
        for index, gate in enumerate(self.gates):
            assert isinstance(gate, Gate)
            parts[f"gates.{index}"] = gate.mlp.macs()
        for index, stream in enumerate(self.streams):
            assert isinstance(stream, MLP)
            parts[f"streams.{index}"] = stream.macs()
        return parts | {"fusion": self.fusion.macs()}

    def last_weights(self) -> list[Tensor]:
        """The weights of the linear and the bilinear forms."""
        return [*super().last_weights(), self.fusion.weight]


def _contexts(selection: FeatureSelection | None, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The features in the context of each gate, patterns expanded; raises Mismatch for unknown ones."""
    if selection is None:
        return [], []
    require_features(selection.named_features, names, ("model", "selection"))
    return matching(selection.context1, names), matching(selection.context2, names)
