"""Ranking models: a batch in, one logit per example out."""

from collections.abc import Mapping

import torch
from torch import Tensor

from wukongctl.config import plugins
from wukongctl.config.gbdt import LightGBMSpec
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
    RankMixerSpec,
    TokenMixerLargeSpec,
    UniMixerSpec,
    WukongSpec,
    XDeepFMSpec,
)
from wukongctl.config.model_section import ModelSpec
from wukongctl.data.schema import Schema
from wukongctl.errors import UsageError
from wukongctl.models.afn import AFN
from wukongctl.models.autoint import AutoInt
from wukongctl.models.dcnv2 import DCNv2
from wukongctl.models.deepfm import DeepFM
from wukongctl.models.dlrm import DLRM
from wukongctl.models.embeddings import fill_vectors
from wukongctl.models.finalmlp import FinalMLP
from wukongctl.models.fm import FM
from wukongctl.models.masknet import MaskNet
from wukongctl.models.mlp import MLPModel
from wukongctl.models.model import Model
from wukongctl.models.rankmixer import RankMixer
from wukongctl.models.tokenmixer_large import TokenMixerLarge
from wukongctl.models.unimixer import UniMixer
from wukongctl.models.wukong import Wukong
from wukongctl.models.xdeepfm import XDeepFM

MODELS: Mapping[type[ModelSpec], type[Model]] = {
    WukongSpec: Wukong,
    FMSpec: FM,
    DeepFMSpec: DeepFM,
    DLRMSpec: DLRM,
    DCNv2Spec: DCNv2,
    AutoIntSpec: AutoInt,
    AFNSpec: AFN,
    FinalMLPSpec: FinalMLP,
    MaskNetSpec: MaskNet,
    XDeepFMSpec: XDeepFM,
    MLPSpec: MLPModel,
    RankMixerSpec: RankMixer,
    TokenMixerLargeSpec: TokenMixerLarge,
    UniMixerSpec: UniMixer,
}
"""Section `model` of a recipe → the model it describes."""


def build(
    spec: ModelSpec | LightGBMSpec,
    schema: Schema,
    *,
    sparse: bool,
    vectors: Mapping[int, Tensor] | None = None,
) -> Model:
    """The model that a recipe describes, for the columns of a dataset.

    `sparse` requests sparse gradients of the embedding table. `vectors` are the frozen ones, (rows, dim)
    per table of `schema.vector_dims`; without them a model that needs some can be counted, not run.
    Works under `torch.device("meta")`.
    Raises Mismatch, with the keys, if the recipe does not fit the data, UsageError for LightGBM, which is not
    a network, and if a matrix would have more bytes than torch can count.
    """
    if isinstance(spec, LightGBMSpec):
        raise UsageError("model `lightgbm` is not a network: it has no steps to time and no FLOPs to count")
    network = MODELS.get(type(spec)) or _of_plugin(spec)
    try:
        model = network(spec, schema, sparse=sparse)
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        raise UsageError(
            "a matrix of this model has more than 2^63 bytes", hint="reduce the widths in the recipe"
        ) from None
    with torch.no_grad():
        for weight in model.last_weights():
            weight.mul_(spec.logit_scale)
    if vectors is not None:
        fill_vectors(model, vectors)
    return model


def _of_plugin(spec: ModelSpec) -> type[Model]:
    """The network of a section of another package; raises UsageError that names the package if it is none."""
    plugin = plugins.model_of(spec)
    with plugin.blamed():
        network = spec.network()
    if not issubclass(network, Model):
        plugin.refuse(f"`{network.__name__}` is not a subclass of `wukongctl.models.Model`")
    return network
