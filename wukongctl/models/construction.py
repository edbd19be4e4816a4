"""The keywords of each model, taken from its recipe page; `build` picks the function."""

from wukongctl.config.model import (
    AFNSpec,
    AutoIntSpec,
    DCNv2Spec,
    DeepFMSpec,
    DLRMSpec,
    FinalMLPSpec,
    FMSpec,
    MaskNetSpec,
    MLPSpec,
    WukongSpec,
    XDeepFMSpec,
)
from wukongctl.config.spec import Mismatch, Mistake
from wukongctl.data.schema import Schema
from wukongctl.models.afn import AFN
from wukongctl.models.autoint import AutoInt
from wukongctl.models.dcnv2 import DCNv2
from wukongctl.models.deepfm import DeepFM
from wukongctl.models.dlrm import DLRM
from wukongctl.models.finalmlp import FinalMLP
from wukongctl.models.fm import FM
from wukongctl.models.lookups import id_features, matching, require_features
from wukongctl.models.masknet import MaskNet
from wukongctl.models.mlp import MLPModel
from wukongctl.models.wukong import Group, Wukong
from wukongctl.models.xdeepfm import XDeepFM


def wukong(spec: WukongSpec, schema: Schema, sparse: bool) -> Wukong:
    """Wukong from its page."""
    layers = spec.layer_sizes
    ids = id_features(schema)
    require_features([spec.named_features], ids, ("model",))
    repeated = [
        name
        for pattern, count in spec.embeddings_per_feature.items()
        for name in matching([pattern], ids)
        for _ in range(count - 1)
    ]
    return Wukong(
        schema,
        width=spec.width,
        n_F=tuple(layer.n_F for layer in layers),
        n_L=tuple(layer.n_L for layer in layers),
        k=tuple(layer.k for layer in layers),
        projection=spec.projection,
        attention_rows=spec.attention.rows,
        attention_hidden=spec.attention.hidden,
        hidden=tuple(layer.hidden for layer in layers),
        bottom=spec.bottom,
        dense_embeddings=spec.dense_embeddings,
        repeated=repeated,
        groups=[
            Group(matching(group.features, ids), group.width, group.hidden, group.embeddings)
            for group in spec.groups
        ],
        head=spec.head,
        dropout=spec.dropout,
        bias=spec.bias,
        ablate=spec.ablate,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def fm(spec: FMSpec, schema: Schema, sparse: bool) -> FM:
    """FM from its page."""
    return FM(
        schema,
        width=spec.width,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def deepfm(spec: DeepFMSpec, schema: Schema, sparse: bool) -> DeepFM:
    """DeepFM from its page."""
    return DeepFM(
        schema,
        width=spec.width,
        hidden=spec.hidden,
        dropout=spec.dropout,
        batch_norm=spec.batch_norm,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def dlrm(spec: DLRMSpec, schema: Schema, sparse: bool) -> DLRM:
    """DLRM from its page."""
    if spec.interaction == "dot" and schema.embeddings + bool(schema.dense) < 2:
        what = "model `dlrm` takes dot products of pairs, and this dataset gives it one embedding"
        hint = "add `--set model.interaction=cat`"
        raise Mismatch([Mistake(what, ("model", "name"), hint, others=(("data",),))])
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


def dcnv2(spec: DCNv2Spec, schema: Schema, sparse: bool) -> DCNv2:
    """DCNv2 from its page."""
    return DCNv2(
        schema,
        width=spec.width,
        cross_layers=spec.cross_layers,
        rank=spec.rank,
        structure=spec.structure,
        hidden=spec.hidden,
        bottom=spec.bottom,
        dropout=spec.dropout,
        batch_norm=spec.batch_norm,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def autoint(spec: AutoIntSpec, schema: Schema, sparse: bool) -> AutoInt:
    """AutoInt from its page."""
    return AutoInt(
        schema,
        width=spec.width,
        attention_layers=spec.attention_layers,
        attention_width=spec.attention_width,
        heads=spec.heads,
        scale=spec.scale,
        residual=spec.residual,
        layer_norm=spec.layer_norm,
        value_hidden=spec.value_hidden,
        layer_hidden=spec.layer_hidden,
        pyramid=spec.pyramid,
        linear_term=spec.linear,
        structure=spec.structure,
        hidden=spec.hidden,
        dropout=spec.dropout,
        batch_norm=spec.batch_norm,
        bottom=spec.bottom,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def afn(spec: AFNSpec, schema: Schema, sparse: bool) -> AFN:
    """AFN from its page."""
    return AFN(
        schema,
        width=spec.width,
        neurons=spec.neurons,
        afn_hidden=spec.afn_hidden,
        afn_dropout=spec.afn_dropout,
        hidden=spec.hidden,
        own_embeddings=spec.own_embeddings,
        dropout=spec.dropout,
        batch_norm=spec.batch_norm,
        bottom=spec.bottom,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def finalmlp(spec: FinalMLPSpec, schema: Schema, sparse: bool) -> FinalMLP:
    """FinalMLP from its page."""
    gates, names = spec.selection, (*id_features(schema), *schema.dense)
    if gates is not None:
        require_features(gates.named_features, names, ("model", "selection"))
    return FinalMLP(
        schema,
        width=spec.width,
        hidden=(spec.mlp1.hidden, spec.mlp2.hidden),
        dropout=(spec.mlp1.dropout, spec.mlp2.dropout),
        batch_norm=(spec.mlp1.batch_norm, spec.mlp2.batch_norm),
        heads=spec.heads,
        selection=None if gates is None else gates.hidden,
        contexts=(matching(gates.context1, names), matching(gates.context2, names)) if gates else ((), ()),
        bottom=spec.bottom,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def masknet(spec: MaskNetSpec, schema: Schema, sparse: bool) -> MaskNet:
    """MaskNet from its page."""
    return MaskNet(
        schema,
        width=spec.width,
        blocks=spec.blocks,
        block_width=spec.block_width if spec.structure == "parallel" else None,
        hidden=spec.hidden,
        reduction=spec.reduction,
        layer_norm=spec.layer_norm,
        embedding_norm=spec.embedding_norm,
        dropout=spec.dropout,
        bottom=spec.bottom,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def xdeepfm(spec: XDeepFMSpec, schema: Schema, sparse: bool) -> XDeepFM:
    """XDeepFM from its page."""
    return XDeepFM(
        schema,
        width=spec.width,
        cin=spec.cin,
        hidden=spec.hidden,
        dropout=spec.dropout,
        batch_norm=spec.batch_norm,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )


def mlp(spec: MLPSpec, schema: Schema, sparse: bool) -> MLPModel:
    """MLPModel from its page."""
    return MLPModel(
        schema,
        width=spec.width,
        hidden=spec.hidden,
        dropout=spec.dropout,
        batch_norm=spec.batch_norm,
        embedding_init=spec.embedding_init,
        sparse=sparse,
    )
