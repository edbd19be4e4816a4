"""Time of collectives, by hand."""

from dataclasses import replace

import pytest

from wukongctl.cost.gpus import GPUS
from wukongctl.cost.network import Collective

SLOW = replace(GPUS["h100"], link=100.0, network=10.0, per_node=4)


def test_inside_a_server_only_its_links_count() -> None:
    for pattern in ("all-to-all", "ring"):
        collective = Collective("x", pattern, 1000)
        assert collective.over_network(4, SLOW.per_node) == 0
        assert collective.seconds(SLOW, 4, share=0.5) == pytest.approx(1000 / 100 / 0.5)


def test_all_to_all_sends_the_same_to_every_other_gpu() -> None:
    """Of 16 in servers of 4, 12 of the 15 others are elsewhere."""
    collective = Collective("x", "all-to-all", 1500)
    assert collective.over_network(16, 4) == pytest.approx(1200)
    assert collective.seconds(SLOW, 16, share=1.0) == pytest.approx(max(300 / 100, 1200 / 10))


def test_rings_leave_the_server_once_for_all_its_gpus() -> None:
    collective = Collective("x", "ring", 1500)
    assert collective.over_network(16, 4) == pytest.approx(1500 / 4)
    assert collective.seconds(SLOW, 16, share=1.0) == pytest.approx(max(1500 / 100, 375 / 10))
    fast = replace(SLOW, network=1e6)
    assert collective.seconds(fast, 16, share=1.0) == pytest.approx(15.0)
