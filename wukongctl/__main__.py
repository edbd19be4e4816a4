"""The start of a process: `wukongctl`, and `python -m wukongctl`, the form `torchrun -m` needs."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line and exit with its code."""
    # Importing the command line takes a tenth of a second, in which Ctrl-C would print a traceback.
    signal.signal(signal.SIGINT, _stop)
    from wukongctl.cli import main as run

    run()


def _stop(number: int, _frame: FrameType | None) -> None:
    sys.stderr.write("error: interrupted\n")
    sys.stderr.flush()
    os._exit(128 + number)


if __name__ == "__main__":
    main()
