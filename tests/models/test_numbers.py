"""Numbers as inputs and as embeddings, against loops; every model on numbers of every encoding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.models.oracle import array
from tests.models.zoo import CONFIGURATIONS, SCHEMA, double, make, make_batch, perturbed
from wukongctl.cost.tracing import trace
from wukongctl.data.schema import Batch, Schema
from wukongctl.models.counts import count
from wukongctl.models.embeddings import FieldEmbeddings
from wukongctl.models.numbers import BottomEmbedding, DenseInputs, NumericEmbedding, PiecewiseEmbedding

CUT = replace(SCHEMA, piecewise=("p", "q"), pieces=(4, 1))
"""The columns of the zoo, with two piecewise ones after the numbers."""
ONLY = Schema((), (), (), (), (), ("p",), (3,))
BINS = Schema(("n_bin", "m_bin"), (), (), (5, 4))
"""Encodings of a table of numbers: only positions, only ids."""
MODELS = ("fm", "deepfm", "dlrm", "dcnv2-parallel", "autoint-plus", "afn-plus", "finalmlp", "masknet-serial",
          "xdeepfm", "mlp", "wukong", "rankmixer", "tokenmixer-large", "unimixer")  # fmt: skip
ASSEMBLING = ("dcnv2-stacked", "autoint-bottom", "dlrm-cat", "finalmlp-context", "wukong-groups")
"""Other ways in which models combine numbers."""
every_model = pytest.mark.parametrize("name", [*MODELS, *ASSEMBLING])


def positions(rows: int, pieces: int) -> torch.Tensor:
    """Positions off the breakpoints, the first row missing."""
    found = torch.rand(rows) * 0.8 + 0.1 + torch.arange(rows) % pieces
    return torch.cat([torch.tensor([-1.0]), found[1:]])


def cut_batch(rows: int = 9) -> Batch:
    batch = make_batch(rows)
    more = torch.stack([positions(rows, 4), positions(rows, 1).flip(0)], dim=1)
    return batch._replace(dense=torch.cat([batch.dense, more], dim=1))


def components(position: float, pieces: int) -> list[float]:
    return [min(max(position - t, 0.0), 1.0) for t in range(pieces)]


def test_inputs_are_numbers_then_components_then_whether_missing() -> None:
    inputs = DenseInputs(CUT)
    assert inputs.n == 2 + 5 + 2
    dense = torch.tensor([[0.5, -2.0, 2.25, -1.0], [1.0, 3.0, -1.0, 0.75], [0.0, 0.0, 4.0, 0.0]])
    assert inputs(dense).tolist() == [
        [0.5, -2.0, 1, 1, 0.25, 0, 0, 0, 1],
        [1.0, 3.0, 0, 0, 0, 0, 1, 0.75, 0],
        [0.0, 0.0, 1, 1, 1, 1, 0, 0, 0],
    ]


def test_inputs_without_pieces_are_the_numbers_themselves() -> None:
    dense = torch.randn(3, 2)
    assert DenseInputs(SCHEMA)(dense) is dense
    assert not list(DenseInputs(SCHEMA).state_dict())


def test_an_embedding_is_the_components_times_a_matrix_and_a_bias() -> None:
    torch.manual_seed(0)
    module = PiecewiseEmbedding((3, 2, 3), (1, 4, 1), 5).double()
    batch = double(cut_batch())
    out = array(module(batch.dense))
    assert out.shape == (9, 3, 5)
    weight, bias, missing = array(module.weight), array(module.bias), array(module.missing)
    for row, dense in zip(out, array(batch.dense), strict=True):
        for place, (column, pieces) in enumerate(((3, 1), (2, 4), (3, 1))):
            made = bias[place].copy()
            for t, share in enumerate(components(dense[column], pieces)):
                made += share * weight[place, t]
            np.testing.assert_allclose(row[place], missing[place] if dense[column] < 0 else made, atol=1e-12)


@pytest.mark.parametrize("pieces", [1, 7, 48])
def test_initial_embeddings_have_the_same_scale_at_every_value(pieces: int) -> None:
    torch.manual_seed(0)
    module = PiecewiseEmbedding((0,), (pieces,), 20_000, init_std=0.3)
    ends = torch.tensor([[-1.0], [0.0], [float(pieces)], [float(pieces // 2)]])
    assert module(ends).std(dim=2).flatten().tolist() == pytest.approx([0.3] * 4, rel=0.03)


def test_linear_weights_start_at_zero() -> None:
    module = PiecewiseEmbedding((2, 3), (4, 1), 3, linear=True)
    out = module(cut_batch().dense)
    assert out.shape == (9, 2, 4)
    assert out[..., -1].abs().max() == 0
    assert out[..., :-1].abs().min() > 0


def test_fields_are_ids_numbers_positions_and_then_repetitions() -> None:
    fields = FieldEmbeddings(CUT, 3, repeated=("q", "x", "a", "p"))
    assert fields.n == 8
    assert fields.repeated == ("a", "x", "q", "p")
    batch = cut_batch()
    X = fields(batch)
    assert X.shape == (9, 12, 3)
    assert isinstance(fields.numeric, NumericEmbedding)
    assert fields.piecewise is not None
    assert fields.repeated_piecewise is not None
    assert fields.repeated_numeric is not None
    torch.testing.assert_close(X[:, 4:6], fields.numeric(batch.dense))
    torch.testing.assert_close(X[:, 6:8], fields.piecewise(batch.dense))
    torch.testing.assert_close(X[:, 9:10], fields.repeated_numeric(batch.dense))
    torch.testing.assert_close(X[:, 10:], fields.repeated_piecewise(batch.dense))
    again = PiecewiseEmbedding((3, 2), (1, 4), 3)
    again.load_state_dict(fields.repeated_piecewise.state_dict())
    torch.testing.assert_close(X[:, 10:], again(batch.dense))


def test_a_bottom_mlp_reads_the_components() -> None:
    fields = FieldEmbeddings(CUT, 3, bottom=(4,))
    assert fields.n == 5
    assert isinstance(fields.numeric, BottomEmbedding)
    assert fields.numeric.mlp.widths == (9, 4, 3)
    assert fields.macs() == {"embeddings.numeric": 9 * 4 + 4 * 3}
    assert FieldEmbeddings(CUT, 3).macs() == {"embeddings.piecewise": 2 * 4 * 3}


@every_model
@pytest.mark.parametrize("schema", [CUT, ONLY, BINS], ids=["all", "piecewise alone", "bins alone"])
def test_every_model_counts_and_steps_on_every_encoding(name: str, schema: Schema) -> None:
    naming = {"embeddings_per_feature", "groups", "selection"} if schema is not CUT else set()
    keys = {key: value for key, value in CONFIGURATIONS[name].items() if key not in naming}
    if schema is ONLY and keys["name"] == "dlrm":
        keys |= {"interaction": "cat"}
    with torch.device("meta"):
        counted = make(keys, schema)
        assert trace(counted, schema).macs == count(counted).macs
    model = make(keys, schema)
    batch = cut_batch(64)
    if schema is not CUT:
        batch = batch._replace(ids=batch.ids[:, : schema.id_columns], dense=batch.dense[:, 2:][:, :1])
        batch = batch._replace(dense=batch.dense[:, : len(schema.dense)].clamp(max=3))
    functional.binary_cross_entropy_with_logits(model(batch), batch.labels).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@every_model
def test_gradients_of_the_whole_model(name: str) -> None:
    """Of values and positions, and of every weight, against finite differences; where a value is missing,
    its position is a mark and no number to differentiate."""
    model, batch = perturbed(make(CONFIGURATIONS[name], CUT)), double(cut_batch(6).rows(1, 5))
    names, weights = zip(*model.named_parameters(), strict=True)

    def logits(dense: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(model, given, (batch._replace(dense=dense),))

    assert torch.autograd.gradcheck(logits, (batch.dense.requires_grad_(), *weights), fast_mode=True)


@pytest.mark.parametrize("name", ["wukong", "dlrm", "dcnv2-parallel", "masknet-bottom", "finalmlp-context"])
@pytest.mark.parametrize("schema", [CUT, BINS], ids=["piecewise", "bins"])
def test_it_exports_with_every_encoding(name: str, schema: Schema) -> None:
    keys = {key: value for key, value in CONFIGURATIONS[name].items() if schema is CUT or key != "selection"}
    model, batch = make(keys, schema).eval(), cut_batch()
    if schema is BINS:
        batch = batch._replace(ids=batch.ids[:, :2], dense=batch.dense[:, :0])
    torch.testing.assert_close(torch.export.export(model, (batch,)).module()(batch), model(batch))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_learns_a_nonlinear_function(name: str) -> None:
    """Clicks for values in mid-range: piecewise embeddings can express them, linear ones cannot."""
    torch.manual_seed(0)
    positions = torch.rand(256, 1) * 6
    labels = ((positions > 2) & (positions < 4)).float().squeeze(1)
    schema = Schema(("a",), (), (), (3,), (), ("p",), (6,))
    batch = Batch(torch.randint(2, (256, 1)).int(), positions, labels)
    keys = {key: value for key, value in CONFIGURATIONS[name].items() if key != "selection"}
    model = make(keys, schema)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(model(batch), labels).backward()
        optimizer.step()
    loss = functional.binary_cross_entropy_with_logits(model.eval()(batch), labels).item()
    assert loss < 0.3  # the base rate gives 0.64
