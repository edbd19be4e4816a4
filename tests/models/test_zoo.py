"""What every model must do, whatever it computes."""

import time
from dataclasses import replace

import pytest
import torch

from tests.models.zoo import CONFIGURATIONS, FROZEN, SCHEMA, double, make, make_batch, shaken
from wukongctl.data.schema import Batch, Schema, SequenceColumn
from wukongctl.models import Model
from wukongctl.models.counts import count
from wukongctl.models.embeddings import embedding_tables, fill_vectors, frozen_vectors
from wukongctl.models.layers import Logit
from wukongctl.scaling.tracing import trace

every_model = pytest.mark.parametrize("name", CONFIGURATIONS)
learned_and_frozen = pytest.mark.parametrize("schema", [SCHEMA, FROZEN], ids=["learned", "frozen"])


def model_named(name: str, schema: Schema = SCHEMA) -> Model:
    return shaken(make(CONFIGURATIONS[name], schema))


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
    """Longer sequences of zeros, and zeros in other places, give the same logits."""
    model, batch = model_named(name, schema), double(make_batch())
    roomy = replace(schema, sequences=(SequenceColumn("s", 2, 5), SequenceColumn("t", 0, 4)))
    wide = make(CONFIGURATIONS[name], roomy).double().eval()
    wide.load_state_dict(model.state_dict())
    fill_vectors(wide, {module.table: module.vectors for module in frozen_vectors(model)})
    padding = torch.zeros(9, 2, dtype=torch.int32)
    parts = [batch.ids[:, :2], padding, batch.ids[:, 2:5], batch.ids[:, 5:], padding]
    padded = batch._replace(ids=torch.cat(parts, dim=1))
    torch.testing.assert_close(wide(padded), model(batch), rtol=1e-12, atol=1e-12)


@every_model
@learned_and_frozen
def test_it_exports(name: str, schema: Schema) -> None:
    model, batch = make(CONFIGURATIONS[name], schema).eval(), make_batch()
    program = torch.export.export(model, (batch,))
    torch.testing.assert_close(program.module()(batch), model(batch))


@every_model
@learned_and_frozen
def test_every_weight_learns_and_only_tables_sparsely(name: str, schema: Schema) -> None:
    model = make(CONFIGURATIONS[name], schema, sparse=True)
    model(make_batch()).square().sum().backward()
    tables = {id(table) for table in embedding_tables(model)}
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.is_sparse == (id(parameter) in tables), parameter_name


@every_model
def test_new_models_start_at_a_sensible_scale(name: str) -> None:
    logits = make({**CONFIGURATIONS[name], "width": 16})(make_batch(256))
    assert 0.05 < logits.std().item() < 5


@every_model
def test_frozen_vectors_are_counted_apart_and_in_no_checkpoint(name: str) -> None:
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
def test_logit_scale_scales_the_last_layers_alone(name: str) -> None:
    configuration = CONFIGURATIONS[name]
    model, scaled = make(configuration), make(configuration | {"logit_scale": 0.01})
    last = {f"{path}.weight" for path, module in model.named_modules() if isinstance(module, Logit)}
    assert bool(last) == (name != "fm")
    for path, weight in model.state_dict().items():
        expected = weight * 0.01 if path in last else weight
        torch.testing.assert_close(scaled.state_dict()[path], expected, rtol=1e-6, atol=0)
