"""The workflow of the CI guide: valid YAML of the shape GitHub reads, with commands that exist."""

import re
import shlex
from pathlib import Path

from ruamel.yaml import YAML

from wukongctl.cli import _command
from wukongctl.config import library

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "ci.md"
(WORKFLOW,) = re.findall(r"```yml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_workflow_is_yaml_1_2_that_github_would_read() -> None:
    workflow = YAML(typ="safe", pure=True).load(WORKFLOW)
    assert set(workflow["on"]) == {"pull_request", "push"}
    steps = workflow["jobs"]["ladder"]["steps"]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)


def test_its_commands_options_and_recipes_exist() -> None:
    workflow = YAML(typ="safe", pure=True).load(WORKFLOW)
    found = []
    for step in workflow["jobs"]["ladder"]["steps"]:
        for line in step.get("run", "").splitlines():
            found += [shlex.split(line)] if line.strip().startswith("wukongctl ") else []
    assert [words[1] for words in found] == ["prepare", "train", "scale-report", "scale-report"]
    for _, name, *rest in found:
        command = _command(name)
        assert command is not None
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options
    for recipe in re.findall(r"quickstart/[\w-]+", WORKFLOW):
        assert library.find(recipe).is_file()
