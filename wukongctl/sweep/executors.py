"""Where the runs of a sweep execute: local processes, or a Ray cluster.

Every run is a separate `wukongctl train` process: a crash or running out of memory ends that run and not the
sweep, and each run can be repeated by hand.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from wukongctl import extras
from wukongctl.sweep.devices import DevicePool

POLL_SECONDS = 0.05
STOP_SECONDS = 60.0
"""How long a stopped run may take to save a checkpoint."""


@dataclass(frozen=True)
class Exit:
    """How the process of one run ended."""

    folder: Path
    code: int
    errors: str

    @property
    def message(self) -> str | None:
        """The error and its hint in one line; None when the run succeeded."""
        if self.code == 0:
            return None
        lines = self.errors.strip().splitlines() or [f"ended with exit code {self.code} and no message"]
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        try:
            error = json.loads(lines[-1])
            message, hint = str(error["message"]), error.get("hint")
        except (ValueError, KeyError, TypeError):
            return lines[-1]
        return f"{message}; {hint}" if hint else message


class Executor(Protocol):
    """Runs training commands, at most `jobs` at a time."""

    jobs: int

    def start(self, folder: Path, command: list[str], threads: int, *, on_gpu: bool) -> None:
        """Start the run of `folder`, `on_gpu` if there is one; the caller starts at most `jobs` at a time."""
        ...

    def wait(self, keep_waiting: Callable[[], bool]) -> Exit | None:
        """Wait for the next run to end; None when `keep_waiting` returns False first."""
        ...

    def cancel(self, folder: Path) -> None:
        """Ask one run to stop; `wait` returns it."""
        ...

    def stop(self) -> None:
        """Ask all runs to save a checkpoint and stop, and wait for them."""
        ...


def command(recipe: Path, data: Path, out: Path, options: Sequence[str] = ()) -> list[str]:
    """The command line of one run; its paths are absolute because a worker may run in another folder."""
    paths = [str(recipe.resolve()), "--data", str(data.resolve()), "--out", str(out.resolve())]
    return [sys.executable, "-m", "wukongctl", "train", *paths, *options, "--json", "--quiet"]


def environment(threads: int) -> dict[str, str]:
    """Environment of one run: its number of threads, without our own option variables."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WUKONGCTL_")}
    return {**inherited, "OMP_NUM_THREADS": str(threads)}


class LocalExecutor:
    """Runs jobs in local processes, each on one of `gpus`, if there are any."""

    def __init__(self, jobs: int, gpus: tuple[str, ...] = ()) -> None:
        self.jobs, self.pool = jobs, DevicePool(gpus)
        self.running: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def start(self, folder: Path, command: list[str], threads: int, *, on_gpu: bool) -> None:
        """Start one run in its own session, so that Ctrl-C reaches only us and we can stop the runs."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115 closed when the run ends
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment(threads) | (self.pool.take(folder) if on_gpu else {}),
            start_new_session=True,
        )
        self.running[folder] = process, errors

    def wait(self, keep_waiting: Callable[[], bool]) -> Exit | None:
        """Poll until a run ends."""
        while keep_waiting():
            for folder, (process, _) in self.running.items():
                if process.poll() is not None:
                    return self._collect(folder)
            time.sleep(POLL_SECONDS)
        return None

    def cancel(self, folder: Path) -> None:
        """SIGTERM to one run."""
        process, _ = self.running[folder]
        process.terminate()

    def stop(self) -> None:
        """SIGTERM, on which `train` saves a checkpoint; SIGKILL after a timeout."""
        for process, _ in self.running.values():
            process.terminate()
        for process, errors in self.running.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            errors.close()
        self.running.clear()

    def _collect(self, folder: Path) -> Exit:
        process, errors = self.running.pop(folder)
        self.pool.free(folder)
        with errors:
            errors.seek(0)
            return Exit(folder, process.returncode, errors.read().decode(errors="replace"))


class RayExecutor:
    """Runs jobs as tasks of a Ray cluster whose nodes share our file system paths.

    Connects to `RAY_ADDRESS` when it is set; otherwise starts Ray locally.
    """

    def __init__(self, jobs: int, threads: int) -> None:
        extras.require("`--engine ray`", "ray", "ray")
        import ray  # type: ignore[import-not-found]

        self.ray: Any = ray
        self.jobs = jobs
        cluster = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": jobs * threads}
        ray.init(**cluster, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        self.running: dict[Any, Path] = {}

    def start(self, folder: Path, command: list[str], threads: int, *, on_gpu: bool) -> None:
        """Submit one run as a task that needs `threads` cores and, where the cluster has GPUs, one of them.

        Ray shows a task the GPUs that it reserved, and none to a task that asks for none. With more jobs than
        GPUs, jobs share them.
        """
        share = min(1.0, self.ray.cluster_resources().get("GPU", 0.0) / self.jobs) if on_gpu else 0.0
        task = self.ray.remote(run_task).options(num_cpus=threads, num_gpus=share, max_retries=0)
        self.running[task.remote(command[1:], threads)] = folder

    def wait(self, keep_waiting: Callable[[], bool]) -> Exit | None:
        """Wait for the next task to end; tasks of a failed node end with an error."""
        while keep_waiting():
            ready, _ = self.ray.wait(list(self.running), num_returns=1, timeout=1.0)
            for reference in ready:
                folder = self.running.pop(reference)
                try:
                    code, errors = self.ray.get(reference)
                except self.ray.exceptions.RayError as error:
                    code, errors = 1, f"Ray: {error}"
                return Exit(folder, code, errors)
        return None

    def cancel(self, folder: Path) -> None:
        """Cancel one task, which forwards SIGTERM to its run."""
        for reference in [task for task, running in self.running.items() if running == folder]:
            self.ray.cancel(reference)

    def stop(self) -> None:
        """Cancel all tasks: each forwards SIGTERM and waits for the checkpoint."""
        for reference in self.running:
            self.ray.cancel(reference)
        if self.running:
            self.ray.wait(list(self.running), num_returns=len(self.running), timeout=STOP_SECONDS)
        self.running.clear()
        self.ray.shutdown()


def run_task(arguments: list[str], threads: int) -> tuple[int, str]:
    """Run one job inside a Ray worker, with the worker's Python."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(threads),
    )
    try:
        _, errors = process.communicate()
    except KeyboardInterrupt:  # how Ray cancels
        process.terminate()
        _, errors = process.communicate()
    return process.returncode, errors.decode(errors="replace")
