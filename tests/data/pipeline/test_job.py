"""Preparation on a local Ray cluster of several processes, if the extra `ray` is installed."""

from pathlib import Path

import pytest

from tests.data.pipeline.test_flow import days, write_days
from tests.data.test_prepare import run
from wukongctl.data.pipeline import parts
from wukongctl.errors import RunFailed, UsageError

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> object:
    # The pool of workers outlives the context: Ray's own sockets are still open when it is collected.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's, not ours


def test_a_cluster_gives_the_same_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path)
    monkeypatch.setattr(parts, "PART_BYTES", 2000)
    locally = run(days(), tmp_path, tmp_path / "locally")
    on_ray = run(days(), tmp_path, tmp_path / "on_ray", engine="ray", threads=1)
    assert on_ray.fingerprint == locally.fingerprint
    assert on_ray.statistics == locally.statistics
    assert on_ray.splits == locally.splits


def test_an_error_in_a_worker_is_raised_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path)
    with (tmp_path / "day3.csv").open("a") as file:
        file.write("2,1,1,,,\n")
    monkeypatch.setattr(parts, "PART_BYTES", 2000)
    with pytest.raises(RunFailed, match="the label must be 0 or 1, found `2`"):
        run(days(), tmp_path, tmp_path / "out", engine="ray")
    assert not (tmp_path / "out/own").exists()


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_days(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match="`--engine ray` needs the extra `ray`") as caught:
        run(days(), tmp_path, tmp_path / "out", engine="ray")
    assert "pip install" in str(caught.value.hint)
