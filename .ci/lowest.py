"""Print the lower bounds of pyproject.toml as constraints for pip, which has no `--resolution lowest`.

python .ci/lowest.py [NAME...]      leaves out these packages
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

BOUND = re.compile(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)")


def bounds() -> Iterator[tuple[str, str]]:
    """Name and lowest version of each requirement of the package and of its tests."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        if found := BOUND.match(requirement):
            yield found[1], found[2]


if __name__ == "__main__":
    for name, version in dict(bounds()).items():
        if name not in sys.argv[1:]:
            sys.stdout.write(f"{name}=={version}\n")
