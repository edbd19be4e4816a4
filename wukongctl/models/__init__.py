"""Ranking models: a batch in, one logit per example out."""

from typing import assert_never

from wukongctl.config.model import AnyModelSpec, DLRMSpec, MLPSpec, WukongSpec
from wukongctl.data.schema import Schema
from wukongctl.models.dlrm import DLRM
from wukongctl.models.mlp import MLPModel
from wukongctl.models.wukong import Wukong

Model = Wukong | DLRM | MLPModel


def build(spec: AnyModelSpec, schema: Schema, *, sparse: bool) -> Model:
    """The model that a recipe describes, for the columns of a dataset.

    `sparse` asks for sparse gradients of the embedding table. Works under `torch.device("meta")`.
    """
    match spec:
        case WukongSpec():
            return Wukong(
                schema,
                width=spec.width,
                layers=spec.layers,
                n_F=spec.n_F,
                n_L=spec.n_L,
                k=spec.k,
                projection=spec.projection,
                attention_rows=spec.attention.rows,
                attention_hidden=spec.attention.hidden,
                hidden=spec.hidden,
                bottom=spec.bottom,
                dense_embeddings=spec.dense_embeddings,
                head=spec.head,
                dropout=spec.dropout,
                bias=spec.bias,
                embedding_init=spec.embedding_init,
                sparse=sparse,
            )
        case DLRMSpec():
            return DLRM(
                schema,
                width=spec.width,
                bottom=spec.bottom,
                top=spec.top,
                interaction=spec.interaction,
                dropout=spec.dropout,
                batch_norm=spec.batch_norm,
                embedding_init=spec.embedding_init,
                sparse=sparse,
            )
        case MLPSpec():
            return MLPModel(
                schema,
                width=spec.width,
                hidden=spec.hidden,
                dropout=spec.dropout,
                batch_norm=spec.batch_norm,
                embedding_init=spec.embedding_init,
                sparse=sparse,
            )
        case _:
            assert_never(spec)
