"""The device script runs anywhere: all sections, tiny, on the CPU."""

import pytest
import torch

from tests.gpu import measure
from tests.gpu.measure import Setting
from wukongctl.models import build
from wukongctl.models.counts import count


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("measure")
    measure.prepare_data(folder, 6_000)
    return Setting("cpu", folder, quick=True)


def test_the_same_device_gives_the_same_losses(setting: Setting) -> None:
    assert measure.same_as_cpu(setting)["all"] == 0


def test_every_feed_and_table_has_a_rate(setting: Setting) -> None:
    found = measure.feeding(setting) | measure.tables(setting)
    assert {name.partition(",")[0] for name in found} >= {"decode", "host", "device"}
    assert min(found.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["peaks", "speed", "resuming", "processes", "trace", "without_waits"])
def test_every_section_has_a_result(setting: Setting, name: str) -> None:
    assert measure.SECTIONS[name](setting)


def test_sizes_are_those_that_their_names_say(setting: Setting) -> None:
    manifest = measure.manifests.read(setting.data / measure.NAME)
    for size in measure.SIZES:
        with torch.device("meta"):
            model = build(setting.recipe(size).model, manifest.schema(), sparse=True)
        stated = float(size.partition(" ")[0])
        assert 0.8 < count(model).gflop * 1e3 / stated < 1.25, size
