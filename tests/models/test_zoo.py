"""Properties of every model."""

import itertools
import time
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d, functional

from tests.models.zoo import (
    CONFIGURATIONS,
    FROZEN,
    MOST_PARTS,
    SCHEMA,
    double,
    make,
    make_batch,
    one_per_model,
    perturbed,
)
from wukongctl.config.model import NetworkSpec
from wukongctl.cost.tracing import trace
from wukongctl.data.schema import Batch, Schema, SequenceColumn
from wukongctl.errors import UsageError
from wukongctl.models import MODELS, Model
from wukongctl.models.counts import count
from wukongctl.models.deepfm import DeepFM
from wukongctl.models.embeddings import embedding_tables, fill_vectors, frozen_vectors
from wukongctl.models.finalmlp import Gate
from wukongctl.models.fm import FM, pair_sum

NAMING = {"embeddings_per_feature", "groups", "selection"}
"""Keys that name features."""
every_model = pytest.mark.parametrize("name", CONFIGURATIONS)
learned_and_frozen = pytest.mark.parametrize("schema", [SCHEMA, FROZEN], ids=["learned", "frozen"])


def model_named(name: str, schema: Schema = SCHEMA) -> Model:
    return perturbed(make(CONFIGURATIONS[name], schema))


def test_every_spec_has_a_model_and_both_are_in_the_zoo() -> None:
    assert set(MODELS) == set(get_args(NetworkSpec))
    assert {type(make(keys)) for keys in CONFIGURATIONS.values()} == set(MODELS.values())
    assert {type(make(CONFIGURATIONS[name])) for name in MOST_PARTS} == set(MODELS.values())


@every_model
@learned_and_frozen
def test_permuting_the_batch_permutes_the_logits(name: str, schema: Schema) -> None:
    model, batch = model_named(name, schema), double(make_batch())
    logits = model(batch)
    assert logits.shape == (9,)
    assert logits.std() > 1e-3
    order = torch.randperm(9)
    shuffled = Batch(batch.ids[order], batch.dense[order], batch.labels[order])
    torch.testing.assert_close(model(shuffled), logits[order], rtol=1e-12, atol=1e-12)


@every_model
@learned_and_frozen
def test_padding_changes_nothing(name: str, schema: Schema) -> None:
    """Longer padding, and padding in other positions, gives the same logits."""
    model, batch = model_named(name, schema), double(make_batch())
    roomy = replace(schema, sequences=(SequenceColumn("s", 2, 5), SequenceColumn("t", 0, 4)))
    wide = make(CONFIGURATIONS[name], roomy).double().eval()
    wide.load_state_dict(model.state_dict())
    fill_vectors(wide, {module.table: module.vectors for module in frozen_vectors(model)})
    padding = torch.zeros(9, 2, dtype=torch.int32)
    parts = [batch.ids[:, :2], padding, batch.ids[:, 2:5], batch.ids[:, 5:], padding]
    padded = batch._replace(ids=torch.cat(parts, dim=1))
    torch.testing.assert_close(wide(padded), model(batch), rtol=1e-12, atol=1e-12)


@one_per_model
def test_model_exports(name: str) -> None:
    """With tables that are learned and tables that are frozen."""
    model, batch = make(CONFIGURATIONS[name], FROZEN).eval(), make_batch()
    program = torch.export.export(model, (batch,))
    torch.testing.assert_close(program.module()(batch), model(batch))


@every_model
@learned_and_frozen
def test_every_weight_learns_and_only_tables_sparsely(name: str, schema: Schema) -> None:
    """Within two steps, because of weights that start at zero."""
    model, batch = make(CONFIGURATIONS[name], schema, sparse=True).double(), double(make_batch(64))
    tables = {id(table) for table in embedding_tables(model)}
    learned: set[str] = set()
    for _ in range(2):
        functional.binary_cross_entropy_with_logits(model(batch), batch.labels.double()).backward()
        for path, weight in model.named_parameters():
            assert weight.grad is not None, path
            assert weight.grad.is_sparse == (id(weight) in tables), path
            if weight.grad.abs().sum() > 1e-12:
                learned.add(path)
            weight.data.sub_(weight.grad, alpha=0.01)
            weight.grad = None
    assert {path for path, _ in model.named_parameters()} - learned <= idle(model)


def idle(model: Model) -> set[str]:
    """Weights without a gradient by construction: what a BatchNorm takes out again, and gates of FinalMLP
    that nothing steers (`test_finalmlp`)."""
    found = {"logarithmic.log_norm.bias", "logarithmic.exp_norm.bias"}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Sequential):
            followed = itertools.pairwise(module)
            found |= {f"{path}.{i}.bias" for i, (_, b) in enumerate(followed) if isinstance(b, BatchNorm1d)}
        if isinstance(module, Gate) and module.constant is not None:
            found |= {f"{path}.{name}" for name, _ in module.named_parameters()}
    return found


@every_model
def test_gradients_of_the_whole_model(name: str) -> None:
    """Of numeric values and of every weight, against finite differences along random directions."""
    model, batch = model_named(name), double(make_batch(4))
    names, weights = zip(*model.named_parameters(), strict=True)

    def logits(dense: Tensor, *weights: Tensor) -> Tensor:
        given = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(model, given, (batch._replace(dense=dense),))

    inputs = (batch.dense.requires_grad_(), *weights)
    assert torch.autograd.gradcheck(logits, inputs, fast_mode=True)


KINDS = {
    "one categorical": Schema(("a",), (), (), (5,)),
    "numeric": Schema((), ("x", "y"), (), ()),
    "sequence": Schema((), (), (SequenceColumn("s", 0, 3), SequenceColumn("t", 1, 2)), (5, 4)),
    "all frozen": Schema(("a", "b"), (), (SequenceColumn("s", 0, 2),), (5, 4), (3, 4)),
}


def ones(schema: Schema) -> Batch:
    """Five rows of id 1."""
    columns = len(schema.categorical) + sum(sequence.max_len for sequence in schema.sequences)
    return Batch(torch.ones(5, columns).int(), torch.randn(5, len(schema.numeric)), torch.zeros(5))


@one_per_model
@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_of_features_is_enough(name: str, kind: str) -> None:
    """It trains on batches, scores one row or none, and has correct counts."""
    schema = KINDS[kind]
    keys = {key: CONFIGURATIONS[name][key] for key in CONFIGURATIONS[name].keys() - NAMING}
    if schema.embeddings + bool(schema.numeric) == 1 and keys == CONFIGURATIONS["dlrm"]:
        with pytest.raises(UsageError, match="this dataset has one embedding"):
            make(keys, schema)
        return
    model = make(keys, schema)
    batch = ones(schema)
    model(batch).sum().backward()
    model.eval()
    for rows in (0, 1, 5):
        few = Batch(batch.ids[:rows], batch.dense[:rows], batch.labels[:rows])
        assert model(few).shape == (rows,)
    with torch.device("meta"):
        assert trace(make(keys, schema), schema).macs == count(model).macs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "wukong",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("dcnv2-parallel", "autoint-plus", "finalmlp", "mlp")
        ),
    ],
)
def test_one_kind_of_features_exports(name: str, kind: str) -> None:
    """Models that combine features in different ways."""
    schema = KINDS[kind]
    model = make(CONFIGURATIONS[name], schema).eval()
    batch = ones(schema)
    torch.testing.assert_close(torch.export.export(model, (batch,)).module()(batch), model(batch))


@every_model
def test_initial_logits_have_a_sensible_scale(name: str) -> None:
    logits = make({**CONFIGURATIONS[name], "width": 16})(make_batch(256))
    assert 0.05 < logits.std().item() < 5


@every_model
def test_frozen_vectors_are_counted_separately_and_not_in_checkpoints(name: str) -> None:
    model = make(CONFIGURATIONS[name], FROZEN)
    assert count(model).frozen_values == 4 * 3 + 6 * 4
    assert trace(make_on_meta(name), FROZEN).macs == count(model).macs
    vectors = {module.vectors.data_ptr() for module in frozen_vectors(model)}
    assert not vectors & {value.data_ptr() for value in [*model.state_dict().values(), *model.parameters()]}


def make_on_meta(name: str) -> Model:
    with torch.device("meta"):
        return make(CONFIGURATIONS[name], FROZEN)


@every_model
def test_600_billion_parameters_need_no_memory(name: str) -> None:
    categorical = ("a", "b", "s", "t", *(f"f{i}" for i in range(716)))
    schema = Schema(categorical, ("x", "y"), (), (5_300_000,) * 720)
    started = time.process_time()
    with torch.device("meta"):
        model = make({**CONFIGURATIONS[name], "width": 160}, schema)
    assert count(model).embedding_params > 600e9
    assert time.process_time() - started < 2  # 0.1 s or less on a quiet machine


@every_model
@learned_and_frozen
def test_logit_scale_scales_the_initial_logits(name: str, schema: Schema) -> None:
    """Except the pair sums of FM and DeepFM, which have no weights."""
    batch = double(make_batch())
    model, scaled = (
        make(CONFIGURATIONS[name] | {"logit_scale": scale}, schema).double().eval() for scale in (1.0, 0.01)
    )
    unscaled = pair_sum(model.embeddings(batch)[:, :, :-1]) if isinstance(model, FM | DeepFM) else 0
    torch.testing.assert_close(
        scaled(batch) - unscaled, 0.01 * (model(batch) - unscaled), rtol=1e-4, atol=1e-7
    )
    weights = zip(model.state_dict().items(), scaled.state_dict().values(), strict=True)
    changed = {path for (path, weight), other in weights if not torch.equal(weight, other)}
    assert len(changed) == len(model.last_weights())
