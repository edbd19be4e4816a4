import itertools

import torch

from tests.models.oracle import array, assert_logits, dot, examples, fields, mlp
from tests.models.zoo import CONFIGURATIONS, make, make_batch, perturbed
from wukongctl.models.deepfm import DeepFM
from wukongctl.models.fm import FM, pair_sum


def logit(model: FM | DeepFM, rows: list[list[float]]) -> float:
    """Linear part and dot products of all pairs; the last number of a row is its linear weight."""
    total = sum(row[-1] for row in rows)
    for one, other in itertools.combinations(rows, 2):
        total += dot(one[:-1], other[:-1])
    return total


def test_fm_equals_its_definition() -> None:
    model = perturbed(make(CONFIGURATIONS["fm"]))
    assert isinstance(model, FM)
    rows = [fields(model.embeddings, *example) for example in examples(make_batch())]
    assert_logits(model, [logit(model, r) + model.interaction.bias.item() for r in rows])


def test_deepfm_adds_an_mlp_on_the_same_embeddings() -> None:
    model = perturbed(make(CONFIGURATIONS["deepfm"]))
    assert isinstance(model, DeepFM)
    rows = [fields(model.embeddings, *example) for example in examples(make_batch())]
    assert_logits(model, [logit(model, r) + mlp(model.mlp, r[:, :-1].reshape(-1))[0] for r in rows])


def test_the_linear_weights_start_at_zero() -> None:
    model = make(CONFIGURATIONS["fm"])
    assert isinstance(model, FM)
    assert model.embeddings.table.weight.shape == (15, 7)
    assert not array(model.embeddings.table.weight)[:, -1].any()
    assert array(model.embeddings.table.weight)[:, :-1].all()


def test_gradients_of_the_pairs() -> None:
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(
        pair_sum, (torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True),)
    )
