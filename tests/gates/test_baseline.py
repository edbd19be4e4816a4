from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.laws.ladders import ladder, point_set
from wukongctl.errors import UsageError
from wukongctl.gates.baseline import read_baseline
from wukongctl.laws.analysis import Report, build
from wukongctl.laws.points import Excluded
from wukongctl.report import document
from wukongctl.report import files as reports

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture(scope="module")
def report() -> Report:
    source = point_set(ladder(np.random.default_rng(1)))
    return build(replace(source, excluded=(Excluded("wukong", 300.0, "diverged", 0, "r"),)))


def test_a_saved_report_reads_back_to_the_same_numbers(report: Report, tmp_path: Path) -> None:
    path = reports.write(report, tmp_path)["json"]
    for given in (path, tmp_path):
        read, written = (document.to_dict(one) for one in (read_baseline(given, report), report))
        for curve in (*read["curves"], *written["curves"]):
            for key in ("rivals", "left_out", "bootstrap"):  # which a baseline is not asked for
                del curve[key]
        assert read == written


@pytest.mark.parametrize("change", [{"split": "valid"}, {"metric": "excess_logloss"}, {"fingerprint": "f2"},
                                    {"convention": "2 x MAC"}])  # fmt: skip
def test_a_baseline_that_is_not_comparable_is_rejected(
    report: Report, tmp_path: Path, change: dict[str, str]
) -> None:
    path = reports.write(report, tmp_path)["json"]
    other = replace(report, source=replace(report.source, **change))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"has {next(iter(change))}") as caught:
        read_baseline(path, other)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"curves": 3}', '{"curves": [{"points": [{"x": 1}]}]}'])
def test_other_json_files_are_rejected_with_a_hint(report: Report, tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="not a report"):
        read_baseline(path, report)
    with pytest.raises(UsageError, match="no such file"):
        read_baseline(tmp_path / "absent.json", report)
