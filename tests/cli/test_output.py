import io

import pytest
from rich.console import Console

from wukongctl.cli.output import prose

SENTENCE = "Both laws predicted their held-out largest size, and the lowest loss is that of dlrm."


@pytest.mark.parametrize(("terminal", "most"), [(True, 30), (False, len(SENTENCE))])
def test_a_terminal_breaks_sentences_between_words(terminal: bool, most: int) -> None:
    shown = io.StringIO()
    prose(Console(file=shown, width=30, force_terminal=terminal, color_system=None), SENTENCE)
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert " ".join(lines) == SENTENCE
    assert max(map(len, lines)) <= most
    assert (len(lines) > 1) == terminal
