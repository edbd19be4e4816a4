"""Warnings of runs on the terminal, after the result that they are about."""

from collections.abc import Mapping, Sequence
from typing import Any

from wukongctl.cli.output import Output


def warn_of(output: Output, results: Sequence[Mapping[str, Any]]) -> None:
    """Say what the finished runs warn of; `results` have the keys of result.json.

    What several runs share is said once.
    """
    from wukongctl.scaling.warned import Warned, fold
    from wukongctl.training.warnings import RunWarning

    each = [Warned("", str(i), warning) for i, r in enumerate(results) for warning in RunWarning.read(r)]
    hinted = ""
    for found in fold(each):
        output.warn(found.said(len(results)), found.hint if found.hint != hinted else None)
        hinted = found.hint
