"""Autocast on the meta device against torch's own, on a pretended GPU."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, layer_norm, linear, softmax

from tests import pretended_gpu
from tests.models import zoo
from tests.models.zoo import CONFIGURATIONS
from wukongctl.config.training import TrainingSpec
from wukongctl.cost.autocast import imitated_autocast
from wukongctl.cost.step import trace_step
from wukongctl.models import build
from wukongctl.models.embeddings import embedding_tables

ROWS = 1024
SUMS_IN_FLOAT32 = ("afn", "autoint", "masknet", "wukong", "rankmixer", "tokenmixer-large", "unimixer")
"""Models with norms, softmax or exponentials, which the pretended GPU leaves in bfloat16, unlike CUDA."""
PRODUCTS_ALONE = [name for name in CONFIGURATIONS if not name.startswith(SUMS_IN_FLOAT32)]


def saved_on_gpu(keys: dict[str, object]) -> int:
    """Bytes that autograd keeps of a forward pass under torch's autocast, without weights in float32."""
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = getattr(tensor, "inner", tensor).untyped_storage()
        kept[storage._cdata] = storage
        return tensor

    with pretended_gpu.pretended() as device:
        model = zoo.make(keys, sparse=True).to(device)
        batch = zoo.make_batch(ROWS).to(device)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            with torch.autocast(device.type, torch.bfloat16):
                logits = model(batch)
            loss = binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="sum")
        assert loss.requires_grad
        given = [*model.parameters(), batch.labels]
        weights = {getattr(one.data, "inner", one.data).untyped_storage()._cdata for one in given}
    return sum(storage.nbytes() for address, storage in kept.items() if address not in weights)


@pretended_gpu.needs_pretended_gpu
@pytest.mark.parametrize("name", PRODUCTS_ALONE)
def test_as_much_is_saved_as_under_the_autocast_of_torch(name: str) -> None:
    """Within 3 %, beside the copies of weights and the ids of each table."""
    keys = {"width": 16, **CONFIGURATIONS[name]}
    spec = TrainingSpec.from_dict({"data": "synthetic", "model": keys})
    with torch.device("meta"):
        model = build(spec.model, zoo.SCHEMA, sparse=False)
    step = trace_step(model, zoo.SCHEMA, ROWS, "bfloat16")
    ids = 8 * ROWS * len(zoo.ID_ROWS) * len(embedding_tables(model))
    assert saved_on_gpu(keys) == pytest.approx(step.saved + step.weight_copies + ids, rel=0.03)


def on_meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.empty(*shape, device="meta", dtype=dtype)


def test_sums_are_made_in_float32_and_products_in_bfloat16() -> None:
    weights = on_meta(3, 4, dtype=torch.float32).requires_grad_()
    copies: list[Tensor] = []
    with imitated_autocast("bfloat16", copies.append):
        X = linear(on_meta(2, 4, dtype=torch.float32), weights)
        assert X.dtype == torch.bfloat16
        assert (X @ X.t()).dtype == torch.bfloat16
        assert torch.einsum("bi,bj->bij", X.float(), X).dtype == torch.bfloat16
        for made in (layer_norm(X, (3,)), softmax(X, 1), X.exp(), X.square(), X**2, X.sum(1)):
            assert made.dtype == torch.float32
        assert torch.relu(X).dtype == torch.bfloat16
        linear(on_meta(2, 4), weights)
    assert [copy.shape for copy in copies] == [(3, 4)]  # once, for both


def test_a_logit_stays_in_float32() -> None:
    weights = on_meta(1, 4, dtype=torch.float32).requires_grad_()
    with imitated_autocast("bfloat16", pytest.fail):
        assert linear(on_meta(2, 4), weights).dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_other_precisions_change_nothing(precision: str) -> None:
    with imitated_autocast(precision, pytest.fail):
        weights = on_meta(3, 4, dtype=torch.float32).requires_grad_()
        assert linear(on_meta(2, 4, dtype=torch.float32), weights).dtype == torch.float32
