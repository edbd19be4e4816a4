import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.runs.made import made_run
from wukongctl.report.dashboard import to_html
from wukongctl.runs.dashboard import gather

NAMES = ["</script><script>alert(1)</script>", "<!--<script>", "a & b 'c' \"d\"", "ünïcode\u2028"]


class Elements(HTMLParser):
    """Ids, links and the text of scripts, as a browser divides them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.refresh: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if given.get("http-equiv") == "refresh":
            self.refresh = given["content"]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"]:
            self.scripts[-1] += data


def test_content_survives_whatever_names_it_has(tmp_path: Path) -> None:
    for index, name in enumerate(NAMES):
        made_run(tmp_path / str(index), model=name, data=(name, "f1"), valid=0.5, test=0.4)
    content = gather([tmp_path])
    html = to_html(content, data=tmp_path)
    page = Elements(html)
    assert len(page.scripts) == 2
    assert json.loads(page.scripts[0]) == content
    assert [recipe["model"] for recipe in content["recipes"]] == NAMES
    assert "alert(1)" not in re.sub(
        r'<script type="application/json".*?</script>', "", html, flags=re.DOTALL
    ).replace("&lt;script&gt;alert(1)", "")


def test_the_page_loads_nothing_and_has_what_its_script_looks_for(tmp_path: Path) -> None:
    made_run(tmp_path / "a", valid=0.5)
    page = Elements(to_html(gather([tmp_path]), data=tmp_path))
    assert page.loads == []
    assert "link" not in page.tags
    script = page.scripts[1]
    wanted = set(re.findall(r'\$\("([\w-]+)"\)', script)) | set(re.findall(r'choose\("(\w+)"', script))
    assert len(wanted) > 15
    assert wanted <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|innerHTML|\beval\b|fetch\(", script)


def test_only_a_watched_page_reloads(tmp_path: Path) -> None:
    made_run(tmp_path / "a", valid=0.5)
    content = gather([tmp_path])
    assert Elements(to_html(content, data=tmp_path)).refresh is None
    assert Elements(to_html(content, data=tmp_path, reload_every=2.5)).refresh == "2.5"


def test_the_page_shows_the_command_of_the_paired_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made_run(Path("runs/a"), valid=0.5)
    made_run(Path("runs/b"), seed=1, valid=0.5)
    made_run(Path("runs/c"), seed=2)
    made_run(Path("runs/d"), model="fm", valid=0.6, test=0.6)
    made_run(Path("runs/e"), data=("alone", "f2"), valid=0.5)
    html = to_html(gather([Path("runs")]), data=Path("data"))
    assert re.findall("<code>(wukongctl compare .*)</code>", html) == [
        "wukongctl compare runs/d runs/a runs/b"
    ]
