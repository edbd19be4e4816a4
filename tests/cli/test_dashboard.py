import re
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.cli.conftest import Wukong
from tests.runs.made import made_run
from wukongctl.cli import dashboard
from wukongctl.report import dashboard as pages


def test_the_runs_of_the_default_folder_on_one_page(wukong: Wukong, tmp_path: Path) -> None:
    made_run(tmp_path / "runs" / "a", valid=0.5, test=0.4)
    made_run(tmp_path / "runs" / "b", status="diverged", seed=1)
    shown = wukong("dashboard")
    assert (shown.code, shown.out, shown.err) == (0, "dashboard of 2 runs: dashboard.html\n", "")
    assert (tmp_path / "dashboard.html").read_text().startswith("<!doctype html>")
    assert wukong("dashboard").code == 0  # over its own page
    (tmp_path / "one.html").write_text("<p>mine")
    found = wukong("dashboard", "runs/a", "--force", "--out", "one.html", "--json").json
    assert set(found) == {"path", "format_version", "chosen_by", "metrics", "runs", "recipes", "leaders"}
    assert found["path"] == "one.html"
    assert [(run["run"], run["status"]) for run in found["runs"]] == [("a", "complete")]
    assert not {"curves", "recipe"} & found["runs"][0].keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "there is no `runs`"),
        (("made",), "no run in `made`"),
        (("made", "--out", "missing/a.html"), "there is no folder `missing`"),
        (("made", "--out", "made"), "`made` exists and is not a dashboard"),
        (("made", "--out", "mine.html"), "`mine.html` exists and is not a dashboard"),
        (("made", "--watch", "2", "--json"), "`--watch` cannot be used with `--json`"),
        (("made", "--watch", "0"), "0.0 is not in the range x>=1"),
    ],
)
def test_refusals(wukong: Wukong, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "mine.html").write_text("<p>mine")
    refused = wukong("dashboard", *arguments)
    assert refused.code == 2
    assert message in refused.err
    assert {path.name for path in tmp_path.iterdir()} == {"made", "mine.html"}


def test_a_watched_page_follows_the_runs_and_is_always_whole(
    wukong: Wukong, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "dashboard.html"
    seen, partial = [], []
    write = pages.write_atomic

    def sleep(seconds: float) -> None:
        html = page.read_text()
        seen.append((seconds, html.count('"status":"'), re.findall(r'"refresh" content="(.*)"', html)))
        if len(seen) == 3:
            raise KeyboardInterrupt
        made_run(tmp_path / "runs" / f"r{len(seen)}", seed=len(seen), valid=0.5)

    def checked(path: Path, fill: object) -> None:
        before = path.read_bytes() if path.exists() else b""

        def slowly(file: BinaryIO) -> None:
            fill(file)  # type: ignore[operator]
            partial.append(path.exists() and path.read_bytes() != before)

        write(path, slowly)

    made_run(tmp_path / "runs" / "r0", valid=0.5)
    monkeypatch.setattr(pages, "write_atomic", checked)
    monkeypatch.setattr(dashboard.time, "sleep", sleep)
    stopped = wukong("dashboard", "--watch", 5)
    assert stopped.code == 130
    assert "rewritten every 5 s; Ctrl-C stops" in stopped.err
    assert seen == [(5.0, runs, ["5"]) for runs in (1, 2, 3)]
    assert partial == [False] * 4
    last = page.read_text()
    assert 'http-equiv="refresh"' not in last
    assert last.count('"status":"') == 3
