"""Every model in a small configuration, on columns of every kind; shared by the tests."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Batch, Schema, SequenceColumn
from wukongctl.models import Model, build

SCHEMA = Schema(("a", "b"), ("x", "y"), (SequenceColumn("s", 2, 3), SequenceColumn("t", 0, 2)), (5, 4, 6))
ID_ROWS = (5, 4, 6, 6, 6, 5, 5)
FROZEN = replace(SCHEMA, vector_dims=(0, 3, 4))
"""The same columns, with pretrained vectors for `b` and `s`."""

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "wukong": {"name": "wukong", "n_F": 3, "n_L": 2, "k": 3, "hidden": [8], "head": [5], "bottom": [4]},
    "wukong-none": {"name": "wukong", "projection": "none", "layers": 1, "hidden": [8], "bottom": [4]},
    "wukong-attentive": {"name": "wukong", "projection": "attentive", "layers": 3, "bottom": [4]},
    "wukong-pyramid": {
        "name": "wukong", "layers": 3, "n_F": [4, 3, 2], "n_L": [4, 2, 1], "k": [5, 4, 3],
        "hidden": [[9], [8, 7], []], "embeddings_per_feature": {"s": 2, "a": 3}, "bottom": [4],
    },
    "wukong-groups": {
        "name": "wukong", "groups": [{"features": ["b", "t"], "width": 2, "hidden": [5], "embeddings": 2}],
        "embeddings_per_feature": {"a": 2}, "bottom": [4], "dense_embeddings": 2,
    },
    "fm": {"name": "fm"},
    "deepfm": {"name": "deepfm", "hidden": [8, 7]},
    "dlrm": {"name": "dlrm", "bottom": [5], "top": [8, 7]},
    "dlrm-cat": {"name": "dlrm", "bottom": [5], "top": [8, 7], "interaction": "cat", "batch_norm": True},
    "dcnv2-cross": {"name": "dcnv2", "structure": "cross"},
    "dcnv2-stacked": {"name": "dcnv2", "structure": "stacked", "hidden": [8, 7], "bottom": [5]},
    "dcnv2-parallel": {"name": "dcnv2", "hidden": [8, 7], "batch_norm": True},
    "dcnv2-low-rank": {"name": "dcnv2", "hidden": [8, 7], "rank": 3},
    "autoint": {"name": "autoint", "attention_width": 8, "hidden": None, "layer_norm": True},
    "autoint-plus": {"name": "autoint", "attention_width": 8, "hidden": [8], "linear": True, "scale": False},
    "autoint-plain": {"name": "autoint", "attention_width": 6, "hidden": [], "residual": False},
    "autoint-stacked": {
        "name": "autoint", "attention_width": 8, "hidden": [8], "structure": "stacked", "batch_norm": True,
    },
    "autoint-bottom": {"name": "autoint", "attention_width": 8, "hidden": [8], "bottom": [5]},
    "autoint-wukong": {
        "name": "autoint", "attention_width": 8, "hidden": [8], "value_hidden": [7], "layer_hidden": [9],
        "pyramid": 3,
    },
    "afn": {"name": "afn", "neurons": 5, "afn_hidden": [8], "hidden": None},
    "afn-plus": {"name": "afn", "neurons": 5, "afn_hidden": [8], "hidden": [8, 7], "batch_norm": True},
    "afn-plus-shared": {
        "name": "afn", "neurons": 5, "afn_hidden": [8], "hidden": [8], "own_embeddings": False, "bottom": [5],
    },
    "finalmlp": {"name": "finalmlp", "mlp1": {"hidden": [8]}, "mlp2": {"hidden": [7, 4]}, "heads": 2},
    "finalmlp-context": {
        "name": "finalmlp", "mlp1": {"hidden": [8], "batch_norm": False}, "mlp2": {"hidden": [4]}, "heads": 4,
        "selection": {"hidden": [9], "context1": ["y", "s"], "context2": ["a", "x", "s"]},
    },
    "finalmlp-bottom": {
        "name": "finalmlp", "mlp1": {"hidden": [8]}, "mlp2": {"hidden": [4]}, "heads": 4, "bottom": [5],
        "selection": {"hidden": [9]},
    },
    "finalmlp-no-selection": {"name": "finalmlp", "mlp1": {"hidden": [6]}, "selection": None, "heads": 2},
    "masknet-serial": {"name": "masknet", "structure": "serial", "hidden": [8, 7], "reduction": 2.0},
    "masknet-parallel": {
        "name": "masknet", "hidden": [8], "blocks": 2, "block_width": 5, "embedding_norm": True,
    },
    "masknet-bottom": {"name": "masknet", "hidden": [8], "blocks": 1, "block_width": 5, "bottom": [5]},
    "xdeepfm": {"name": "xdeepfm", "cin": [5, 4], "hidden": [8, 7]},
    "xdeepfm-no-mlp": {"name": "xdeepfm", "cin": [3], "hidden": None},
    "mlp": {"name": "mlp", "hidden": [8, 7]},
    "rankmixer": {"name": "rankmixer", "tokens": 3, "token_width": 6, "expansion": 2, "head": [5]},
    "rankmixer-bottom": {"name": "rankmixer", "tokens": 5, "token_width": 5, "layers": 1, "bottom": [5]},
    "tokenmixer-large": {
        "name": "tokenmixer_large", "tokens": 3, "token_width": 8, "heads": 2, "layers": 3, "head": [5],
    },
    "tokenmixer-large-plain": {
        "name": "tokenmixer_large", "tokens": 3, "token_width": 6, "global_token": False, "interval": None,
        "bottom": [5],
    },
    "unimixer": {
        "name": "unimixer", "tokens": 3, "token_width": 8, "block": 4, "basis": 2, "rank": 3, "sinkhorn": 3,
        "head": [5],
    },
    "unimixer-bottom": {
        "name": "unimixer", "tokens": 2, "token_width": 5, "block": 5, "layers": 1, "temperature": 1.0,
        "bottom": [5],
    },
}  # fmt: skip

MOST_PARTS = {
    "wukong-groups", "fm", "deepfm", "dlrm-cat", "dcnv2-stacked", "autoint-wukong", "afn-plus",
    "finalmlp-context", "masknet-parallel", "xdeepfm", "mlp", "rankmixer", "tokenmixer-large", "unimixer",
}  # fmt: skip
"""The configuration of each model that has most parts."""
one_per_model = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in MOST_PARTS else [pytest.mark.slow]) for name in CONFIGURATIONS],
)
"""For what is expensive: the other configurations are slow tests."""

ALL = {"width": 5, "embedding_init": 0.3, "logit_scale": 0.5}
DEEP = ALL | {"dropout": 0.5}
FIELDS = ALL | {"bottom": [3]}
DEEP_FIELDS = DEEP | FIELDS
MLP = {"hidden": [3, 4], "batch_norm": True}
TOKENS = DEEP_FIELDS | {"tokens": 4, "token_width": 32, "layers": 1, "expansion": 3, "head": [3]}
STREAM = {"hidden": [6], "dropout": 0.5, "batch_norm": False}

REDUCED: dict[str, dict[str, Any]] = {
    "wukong": {"projection": "attentive"},
    "masknet": {"hidden": [8]},
    "finalmlp": {"mlp1": {"hidden": [4]}, "mlp2": {"hidden": [4]}, "heads": 2, "selection": {"hidden": [3]}},
    "autoint": {"attention_width": 8},
    "tokenmixer_large": {"layers": 3},
}
"""The base of `CHANGES`, where it is not the default."""
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
    "rankmixer": TOKENS,
    "tokenmixer_large": TOKENS | {"heads": 4, "global_token": False, "interval": 1},
    "unimixer": TOKENS | {"block": 4, "basis": 2, "rank": 3, "temperature": 1.0, "sinkhorn": 1},
}  # fmt: skip
"""Another value for every key of every section, including nested ones."""


def make(keys: dict[str, Any], schema: Schema = SCHEMA, *, sparse: bool = False) -> Model:
    """A freshly initialized model, of width 6 unless `keys` say otherwise."""
    torch.manual_seed(1)
    spec = TrainingSpec.from_dict({"data": "synthetic", "model": {"width": 6, **keys}})
    return build(spec.model, schema, sparse=sparse, vectors=pretrained(schema))


def pretrained(schema: Schema) -> dict[int, torch.Tensor]:
    """Vectors for the frozen tables of `schema`, zero for the two special ids."""
    tables = {table: dim for table, dim in enumerate(schema.vector_dims) if dim}
    vectors = {table: torch.randn(schema.table_rows[table], dim) for table, dim in tables.items()}
    for table in vectors.values():
        table[:2] = 0
    return vectors


def make_batch(rows: int = 9) -> Batch:
    """Ids of every kind, zeros included, for `SCHEMA`."""
    torch.manual_seed(2)
    ids = torch.stack([torch.randint(0, high, (rows,)) for high in ID_ROWS], dim=1).int()
    return Batch(ids, torch.randn(rows, 2), torch.randint(0, 2, (rows,)).float())


def perturbed(model: Model, std: float = 0.4) -> Model:
    """`model` in double precision and evaluation mode, with no weight or statistic at a neutral value."""
    torch.manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model.double().eval()


def double(batch: Batch) -> Batch:
    """`batch` with numeric values in double precision."""
    return batch._replace(dense=batch.dense.double())
