"""How a command was launched: by itself, as one of several processes under torchrun, or by srun alone."""

import os
import shlex
import signal
import sys
import time

from wukongctl.errors import Interrupted, UsageError, WukongError

PATIENCE_SECONDS = 20.0


def rank() -> int:
    """The rank of this process in its run; 0 without torchrun."""
    return int(os.environ.get("RANK", "0"))


def require_launcher() -> None:
    """Raise UsageError where srun started several processes and none of them knows of the others."""
    environment = os.environ
    # Not SLURM_NTASKS, which an allocation's own script has too.
    started = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if "WORLD_SIZE" in environment or not started.isdecimal():
        return
    processes, nodes = int(started), int(environment.get("SLURM_NNODES", "1"))
    if processes == 1:
        return
    command = shlex.join(["-m", "wukongctl", *sys.argv[1:]])
    torchrun = f"torchrun --nproc-per-node={-(-processes // nodes)}"
    if nodes > 1:
        host = "$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)"
        torchrun += f" --nnodes={nodes} --rdzv-backend=c10d --rdzv-endpoint={host}:29500"
    srun = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1"
    raise UsageError(
        f"srun started {processes} processes, but only torchrun can make them one run",
        hint=f"`{srun} {torchrun} {command}`; for a run in a single process, `srun --nodes=1 --ntasks=1`",
    )


def is_left_to_rank_zero(error: WukongError) -> bool:
    """Whether another process reports an error, so that this one need not.

    Every process of a machine finds a user mistake; the first one reports it and ends the run. The others
    wait for torchrun to stop them, and report it themselves only if that does not happen.
    """
    if rank() == 0:
        return False
    if error.on_every_rank or isinstance(error, Interrupted):
        return True
    if not isinstance(error, UsageError) and error.exit_code != UsageError.exit_code:
        return False
    if os.environ.get("LOCAL_RANK", "0") == "0":
        return False
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(PATIENCE_SECONDS)
    return False
