"""DCNv2 and Wukong as one writes them plainly: a table per feature, one product after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def mlp(inputs: int, hidden: Sequence[int], *, batch_norm: bool = False) -> nn.Sequential:
    steps: list[nn.Module] = []
    for width in hidden:
        steps += [nn.Linear(inputs, width), *([nn.BatchNorm1d(width)] if batch_norm else []), nn.ReLU()]
        inputs = width
    return nn.Sequential(*steps)


class Tables(nn.Module):
    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        return torch.stack([table(ids[:, column]) for column, table in enumerate(self.tables)], dim=1)


class DCNv2(nn.Module):
    def __init__(self, sizes: Sequence[int], width: int, cross: int, hidden: Sequence[int]) -> None:
        super().__init__()
        inputs = len(sizes) * width
        self.tables = Tables(sizes, width)
        self.cross = nn.ModuleList(nn.Linear(inputs, inputs) for _ in range(cross))
        self.mlp = mlp(inputs, hidden, batch_norm=True)
        self.output = nn.Linear(inputs + hidden[-1], 1)

    def forward(self, ids: Tensor) -> Tensor:
        x0 = self.tables(ids).flatten(1)
        x = x0
        for layer in self.cross:
            x = x0 * layer(x) + x
        return self.output(torch.cat([x, self.mlp(x0)], dim=1)).squeeze(1)


class WukongLayer(nn.Module):
    def __init__(self, n: int, width: int, n_F: int, n_L: int, k: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.n_F, self.width = n_F, width
        self.Y = nn.Parameter(torch.randn(n, k) * n**-0.5)
        self.W_L = nn.Parameter(torch.randn(n_L, n) * n**-0.5)
        self.W_R = nn.Parameter(torch.randn(n_F + n_L, n) * n**-0.5) if n != n_F + n_L else None
        self.fm_norm = nn.LayerNorm(n * k)
        self.mlp = nn.Sequential(mlp(n * k, hidden), nn.Linear(hidden[-1], n_F * width))
        self.norm = nn.LayerNorm(width)

    def forward(self, X: Tensor) -> Tensor:
        fm = torch.bmm(X, torch.einsum("bnd,nk->bdk", X, self.Y))  # (B, N, K)
        made = self.mlp(self.fm_norm(fm.flatten(1))).view(-1, self.n_F, self.width)
        compressed = torch.einsum("ln,bnd->bld", self.W_L, X)
        skip = X if self.W_R is None else torch.einsum("on,bnd->bod", self.W_R, X)
        return self.norm(torch.cat([made, compressed], dim=1) + skip)


class Wukong(nn.Module):
    def __init__(
        self, sizes: Sequence[int], width: int, *, layers: int, n_F: int, n_L: int, k: int,
        hidden: Sequence[int], head: Sequence[int],
    ) -> None:  # fmt: skip
        super().__init__()
        self.tables = Tables(sizes, width)
        widths = [len(sizes)] + [n_F + n_L] * (layers - 1)
        self.layers = nn.Sequential(*(WukongLayer(n, width, n_F, n_L, k, hidden) for n in widths))
        self.head = nn.Sequential(mlp((n_F + n_L) * width, head), nn.Linear(head[-1], 1))

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layers(self.tables(ids)).flatten(1)).squeeze(1)
