"""Ranking models: a batch in, one logit per example out."""

from collections.abc import Mapping
from typing import assert_never

import torch
from torch import Tensor

from wukongctl.config.gbdt import LightGBMSpec
from wukongctl.config.model import (
    AFNSpec,
    AnyModelSpec,
    AutoIntSpec,
    DCNv2Spec,
    DeepFMSpec,
    DLRMSpec,
    FinalMLPSpec,
    FMSpec,
    MaskNetSpec,
    MLPSpec,
    NetworkSpec,
    WukongSpec,
    XDeepFMSpec,
)
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError
from wukongctl.models import construction
from wukongctl.models.afn import AFN
from wukongctl.models.autoint import AutoInt
from wukongctl.models.dcnv2 import DCNv2
from wukongctl.models.deepfm import DeepFM
from wukongctl.models.dlrm import DLRM
from wukongctl.models.embeddings import fill_vectors
from wukongctl.models.finalmlp import FinalMLP
from wukongctl.models.fm import FM
from wukongctl.models.layers import Logit
from wukongctl.models.masknet import MaskNet
from wukongctl.models.mlp import MLPModel
from wukongctl.models.wukong import Wukong
from wukongctl.models.xdeepfm import XDeepFM

Model = Wukong | FM | DeepFM | DLRM | DCNv2 | AutoInt | AFN | FinalMLP | MaskNet | XDeepFM | MLPModel


def build(
    spec: AnyModelSpec, schema: Schema, *, sparse: bool, vectors: Mapping[int, Tensor] | None = None
) -> Model:
    """The model that a recipe describes, for the columns of a dataset.

    `sparse` asks for sparse gradients of the embedding table. `vectors` are the frozen ones, (rows, dim)
    per table of `schema.vector_dims`; without them a model that needs some can be counted, not run.
    Works under `torch.device("meta")`.
    Raises Mismatch, with the keys, when the recipe does not fit the data, UsageError when a matrix would have
    more bytes than torch can count and for LightGBM, which is no network.
    """
    if isinstance(spec, LightGBMSpec):
        raise UsageError("model `lightgbm` is no network: it has no steps to time and no FLOPs to count")
    try:
        model = _build(spec, schema, sparse)
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise UsageError(
            "a matrix of this model has more than 2^63 bytes", hint="make the widths of the recipe smaller"
        ) from None
    with torch.no_grad():
        for weight in last_weights(model):
            weight.mul_(spec.logit_scale)
    if vectors is not None:
        fill_vectors(model, vectors)
    return model


def _build(spec: NetworkSpec, schema: Schema, sparse: bool) -> Model:  # noqa: C901, PLR0911 one case per model
    match spec:
        case WukongSpec():
            return construction.wukong(spec, schema, sparse)
        case FMSpec():
            return construction.fm(spec, schema, sparse)
        case DeepFMSpec():
            return construction.deepfm(spec, schema, sparse)
        case DLRMSpec():
            return construction.dlrm(spec, schema, sparse)
        case DCNv2Spec():
            return construction.dcnv2(spec, schema, sparse)
        case AutoIntSpec():
            return construction.autoint(spec, schema, sparse)
        case AFNSpec():
            return construction.afn(spec, schema, sparse)
        case FinalMLPSpec():
            return construction.finalmlp(spec, schema, sparse)
        case MaskNetSpec():
            return construction.masknet(spec, schema, sparse)
        case XDeepFMSpec():
            return construction.xdeepfm(spec, schema, sparse)
        case MLPSpec():
            return construction.mlp(spec, schema, sparse)
        case _:
            assert_never(spec)


def last_weights(model: Model) -> list[Tensor]:
    """The weights in which the logit is linear; the pair sums of FM and DeepFM have none.

    As biases start at zero, a factor on these weights is one on the first logits.
    """
    # The MLP of AFN+ and its other half make logits too, but of those `output` makes the last one.
    last = model.output if isinstance(model, AFN) and model.mlp is not None else model
    weights: list[Tensor] = [module.weight for module in last.modules() if isinstance(module, Logit)]
    if isinstance(model, FinalMLP):
        weights.append(model.fusion.weight)
    return weights
