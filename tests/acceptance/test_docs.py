"""What the documentation says holds: links lead somewhere, commands exist, pinned pages are current."""

import re
import shlex
from pathlib import Path

import pytest

from wukongctl.cli import COMMANDS, _command
from wukongctl.cli.reference import to_markdown as commands_page
from wukongctl.config import library
from wukongctl.config.formats import format_of
from wukongctl.config.loading import validate
from wukongctl.config.positions import parse
from wukongctl.config.schema import json_schema, to_markdown
from wukongctl.laws.notes import EXPLANATIONS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def anchors(page: Path) -> set[str]:
    """The fragments that a page answers to, as GitHub makes them of its headings."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_into_a_page_name_one_of_its_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert anchor in anchors(page.parent / target if target else page), f"{target}#{anchor}"


def commands(page: Path) -> list[list[str]]:
    """Every `wukongctl …` line of a page's code blocks, as words."""
    blocks = re.findall(
        r"```sh\n(.*?)```|((?:^    .*\n)+)", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    lines = [line.strip() for fenced, indented in blocks for line in (fenced or indented).splitlines()]
    split = (shlex.split(line, comments=True) for line in lines if line.startswith("wukongctl "))
    return [[word for word in words if word != "…"] for words in split]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    for _, name, *rest in commands(page):
        command = _command(name)
        assert command is not None, name
        for word in rest:
            command = getattr(command, "commands", {}).get(word, command)
        options = {opt for param in command.params for opt in param.opts}
        assert {word for word in rest if word.startswith("--")} <= options, rest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_yaml_examples_are_valid_recipes(page: Path) -> None:
    for text in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        document = parse(text, str(page))
        validate(document, format_of(set(document.value)).spec)


def test_the_test_command_of_the_readme_is_what_ci_runs() -> None:
    (line,) = [text for text in (ROOT / "README.md").read_text().splitlines() if "[dev]" in text]
    command = line.rpartition("&& ")[2].removeprefix(".venv/bin/")
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_recipe_reference_is_current() -> None:
    """Regenerate with: recipes schema training --markdown, then the same for dataset, sweep and report."""
    page = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    assert to_markdown("training") in page
    assert to_markdown("dataset") in page
    assert to_markdown("sweep") in page
    assert to_markdown("report") in page


def test_the_command_reference_is_current() -> None:
    """Regenerate with: python -m wukongctl.cli.reference > docs/reference/commands.md."""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    assert page == commands_page()


def test_every_command_has_a_row_in_help() -> None:
    assert set(COMMANDS) >= {"prepare", "train", "evaluate", "flops", "scale-report", "quickstart"}


def test_every_shipped_dataset_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "datasets.md").read_text(encoding="utf-8")
    for name in library.names("datasets"):
        assert f"| `{name}` |" in page


def test_documented_remarks_are_remarks_of_datasets_init() -> None:
    page = (ROOT / "docs" / "reference" / "remarks.md").read_text(encoding="utf-8")
    data = ROOT / "wukongctl" / "data"
    modules = [*(data / "drafting").rglob("*.py"), data / "query" / "tables.py"]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(module.read_text(encoding="utf-8") for module in modules))
    remarks = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(remarks) >= 15
    for remark in remarks:
        for phrase in re.split("^999|…", remark):
            assert phrase.strip() in code, remark


def test_every_model_has_a_section_whose_keys_exist() -> None:
    page = (ROOT / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
    found = re.findall(r"^## ([\w-]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    sections = {title.lower().replace("-", "_"): section for title, section in found}
    schema = json_schema("training")
    networks = schema["properties"]["model"]["discriminator"]["mapping"]
    assert set(sections) == set(networks)
    for name, section in sections.items():
        keys = schema["$defs"][networks[name].rpartition("/")[2]]["properties"]
        rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
        assert set(re.findall(r"`(\w+)`", " ".join(rows))) <= set(keys), name


def test_notes_in_the_docs_are_notes_of_the_tool() -> None:
    page = (ROOT / "docs" / "concepts" / "scaling-reports.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([a-z_]+)` \| [a-z0\"]", page, re.MULTILINE)
    assert set(named) - {"power", "power0", "loglin", "joint"} == set(EXPLANATIONS)


def test_nothing_names_one_machine() -> None:
    for path in [*PAGES, *(ROOT / "recipes").rglob("*.y*ml"), *(ROOT / "wukongctl").rglob("*.py")]:
        assert not re.search(r"(?<![\w.])/(work|home|root)/", path.read_text(encoding="utf-8")), path
