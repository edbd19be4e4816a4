"""`quickstart` as a user runs it: interrupted, resumed, and with a law for both models."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "wukongctl", "quickstart"]
RUNS = 36


def complete_runs(folder: Path) -> int:
    return len(list((folder / "quickstart" / "runs").glob("*/result.json")))


@pytest.mark.slow
def test_interrupted_resumed_and_identified(tmp_path: Path) -> None:
    process = subprocess.Popen(
        COMMAND, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and complete_runs(tmp_path) < 2:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # reaches the parent alone
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.splitlines()[-2:] == [
        "error: quickstart was interrupted; what was finished is kept",
        "hint: the same command resumes it",
    ]
    assert "Traceback" not in errors
    before = complete_runs(tmp_path)
    assert 2 <= before < RUNS

    subprocess.run(COMMAND, cwd=tmp_path, check=True)
    assert complete_runs(tmp_path) == RUNS
    report = json.loads((tmp_path / "quickstart" / "report" / "report.json").read_text())
    for curve in report["curves"]:
        low, high = curve["intervals"]["c"]
        assert high < 2 * low
        assert not {"exponent_weak", "nonmonotone", "lack_of_fit"} & set(curve["notes"])
