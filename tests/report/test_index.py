from pathlib import Path

from tests.report.test_files import Page, synthetic
from wukongctl.report.index import folder_of, write_index


def test_names_are_escaped_and_links_lead_to_folders(tmp_path: Path) -> None:
    label = "<b>a & b</b> 0123"
    page = Page(write_index({label: synthetic(label), "plain": synthetic("plain")}, tmp_path).read_text())
    assert "b" not in page.tags
    assert label in page.words
    assert page.links == [f"{folder_of(label)}/report.html", "plain/report.html"]
    assert all("/" not in folder_of(name) and folder_of(name) for name in ("../up", "a/b", "..", ""))
