"""On a real GPU: `pytest -m gpu tests/gpu`. Bounds of float32 without TF32, and no wait in a step."""

import pytest
import torch

from tests.gpu import measure
from tests.gpu.measure import Setting

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("gpu")
    measure.prepare_data(folder, 30_000)
    return Setting("cuda", folder, quick=True)


def test_losses_are_those_of_the_cpu(setting: Setting) -> None:
    found = measure.same_as_cpu(setting)
    assert found["first_10"] < 1e-5
    assert found["all"] < 1e-3


def test_no_step_waits_for_the_device(setting: Setting) -> None:
    assert set(measure.without_waits(setting).values()) == {"no wait"}


def test_a_resumed_run_ends_within_the_spread_of_two_that_are_not(setting: Setting) -> None:
    first, second, resumed = measure.resuming(setting)["auc"]
    assert abs(resumed - first) <= max(abs(second - first), 1e-3)


def test_every_feed_delivers_every_row(setting: Setting) -> None:
    assert min(measure.feeding(setting).values()) > 0


@pytest.mark.parametrize("way", [{"cuda_graph": True}, {"compile": True}, {"precision": "tf32"}], ids=str)
def test_every_way_to_compute_follows_the_plain_losses(setting: Setting, way: dict[str, bool | str]) -> None:
    curves = []
    for changes in ({}, way):
        pairs = measure.updates(setting, setting.recipe(**changes))
        curves.append(torch.stack([update(share, 1.0) for update, share in measure.first(pairs, 20)]).cpu())
    torch.testing.assert_close(*curves, rtol=1e-2, atol=1e-3)
