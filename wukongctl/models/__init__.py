"""Ranking models: a batch in, one logit per example out."""

from collections.abc import Mapping
from typing import assert_never

from torch import Tensor

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
    WukongSpec,
    XDeepFMSpec,
)
from wukongctl.data.schema import Schema
from wukongctl.models import construction
from wukongctl.models.afn import AFN
from wukongctl.models.autoint import AutoInt
from wukongctl.models.dcnv2 import DCNv2
from wukongctl.models.deepfm import DeepFM
from wukongctl.models.dlrm import DLRM
from wukongctl.models.embeddings import fill_vectors
from wukongctl.models.finalmlp import FinalMLP
from wukongctl.models.fm import FM
from wukongctl.models.layers import scale_logits
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
    Raises Mismatch, with the keys, when the recipe does not fit the data.
    """
    model = _build(spec, schema, sparse)
    scale_logits(model, spec.logit_scale)
    if vectors is not None:
        fill_vectors(model, vectors)
    return model


def _build(spec: AnyModelSpec, schema: Schema, sparse: bool) -> Model:  # noqa: C901, PLR0911 one case per model
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
