"""Fixtures that several packages share."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.databases import share_databases
from tests.examples import PROFILE

# The same examples every time, whatever else the machine does: no change fails by the chance of the draw.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "fresh", settings.get_profile("repeatable"), derandomize=False, max_examples=200, print_blob=True
)
settings.load_profile(PROFILE)
if PROFILE != "fresh":
    share_databases()

# Kills are tested, not power failures: whatever a process has written is there for the next one.
os.fsync = lambda _: None

# Small models gain nothing from threads, and xdist workers would fight over them.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests must not see the developer's settings or caches, nor leave traces in them."""
    for name in [name for name in os.environ if name.startswith("WUKONGCTL_")]:
        if name != "WUKONGCTL_REAL_DATA":
            monkeypatch.delenv(name)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setenv("WUKONGCTL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def real_data() -> Path:
    """Folder with the real datasets, named by WUKONGCTL_REAL_DATA."""
    folder = os.environ.get("WUKONGCTL_REAL_DATA")
    if folder is None:
        pytest.skip("WUKONGCTL_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports with empty plots: ten of them take most of the time of a report; tests/report draws them."""
    from wukongctl.report import plots

    for name in ("scaling_svg", "diagnostics_svg"):
        monkeypatch.setattr(plots, name, lambda report, *, width="wide": "<svg></svg>")
    monkeypatch.setattr(plots, "scaling_png", lambda report: b"PNG")
