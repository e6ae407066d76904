"""Where the runs of a suite compute: processes here, a Ray cluster, or Slurm through submitit.

An engine starts a command and says how it ended; what is started when is `runner.py`'s. Ray and
Slurm need this package, the data and the suite's folder under the same paths on every machine.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from uda4inst.errors import UserError
from uda4inst.run_folder.start import TrainerProcess, device_settings, start, thread_settings
from uda4inst.suites.machine import hardware, visible_gpus

EngineName = Literal["local", "ray", "slurm"]
_POLL_SECONDS: Final = 0.2
# Exit codes where an engine has none of its own.
LOST: Final = 1
CANCELLED: Final = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Job:
    """A command to run.

    Args:
        name: for people.
        command: program and arguments.
        log: file to which its output is added.
        folder: working directory.
        environment: variables on top of the engine's.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended, and on what it ran."""

    code: int
    hardware: str


class Handle(Protocol):
    """A command that was started."""

    def poll(self) -> Ending | None:
        """Return how it ended; None while it runs or waits."""
        ...

    def stop(self) -> None:
        """Ask it to save and end; asking again changes nothing."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Engine(Protocol):
    """Starts commands."""

    slots: int

    def start(self, job: Job) -> Handle:
        """Start a command; called for at most `slots` that have not ended."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


def open_engine(name: str, *, at_once: int | None, folder: Path) -> Engine:
    """Return an engine by its name.

    Args:
        name: local, ray or slurm.
        at_once: runs at the same time; None for as many as there are devices.
        folder: where an engine may keep files of its own.

    Raises:
        UserError: no such engine, or its package is not installed; a number below 1.
    """
    if at_once is not None and at_once < 1:
        raise UserError(f"--at-once must be at least 1, got {at_once}.")
    if name == "local":
        return LocalEngine(at_once=at_once)
    if name == "ray":
        return RayEngine(at_once=at_once)
    if name == "slurm":
        return SlurmEngine(folder, at_once=at_once)
    raise UserError(f"--engine must be one of local, ray, slurm, got {name!r}.")


# Processes on this machine ----------------------------------------------------------------------


class LocalEngine:
    """One process a device; without a GPU, one at a time unless told otherwise.

    Args:
        at_once: processes at the same time; more than there are GPUs share them in turn.
    """

    def __init__(self, *, at_once: int | None = None) -> None:
        gpus = visible_gpus()
        self.slots = at_once or max(1, len(gpus))
        self._devices = [gpus[i % len(gpus)] if gpus else None for i in range(self.slots)]
        self._threads = thread_settings(self.slots)
        self._hardware = hardware()

    def start(self, job: Job) -> Handle:
        """Start the command on a device nobody uses."""
        device = self._devices.pop(0)

        def release() -> None:
            self._devices.append(device)

        environment = {**self._threads, **job.environment, **device_settings(device)}
        return _LocalHandle(_start(job, environment), self._hardware, release)

    def close(self) -> None:
        """Nothing is held."""


class _LocalHandle:
    def __init__(self, process: TrainerProcess, where: str, release: Callable[[], None]) -> None:
        self.stop = process.stop
        self.kill = process.kill
        self._process = process
        self._hardware = where
        self._release = release
        self._ending: Ending | None = None

    def poll(self) -> Ending | None:
        if self._ending is None and (code := self._process.poll()) is not None:
            self._ending = Ending(code, self._hardware)
            self._release()
        return self._ending


def _start(job: Job, environment: Mapping[str, str]) -> TrainerProcess:
    return start(job.command, console=job.log, environment=environment, folder=job.folder)


def execute(job: Job) -> Ending:
    """Run a command to its end on a machine of a cluster; a cancelled task asks it to stop."""
    process = _start(job, job.environment)
    while (code := process.poll()) is None:
        try:
            time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            process.stop()
    return Ending(code, hardware())


# Ray --------------------------------------------------------------------------------------------


class RayEngine:
    """Tasks of a Ray cluster: the one RAY_ADDRESS names, or one on this machine.

    A run takes one GPU where the cluster has any, else its share of the cores.

    Args:
        at_once: runs at the same time; default: as many as the cluster has devices.
    """

    def __init__(self, *, at_once: int | None = None) -> None:
        self._ray = ray = _import("ray", engine="ray")
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            ray.init(log_to_driver=False, include_dashboard=False, configure_logging=False)
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self.slots = at_once or gpus or max(1, len(ray.nodes()))
        share = max(1, cores // self.slots)
        needs = {"num_gpus": min(1.0, gpus / self.slots)} if gpus else {"num_cpus": share}
        self._threads = {"OMP_NUM_THREADS": str(share)} if not gpus else {}
        if "OMP_NUM_THREADS" in os.environ:
            self._threads = {"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}
        # A lost machine is no reason to begin a run twice at once: the suite resumes it.
        self._task = ray.remote(max_retries=0, **needs)(execute)

    def start(self, job: Job) -> Handle:
        """Give the command to the cluster, which starts it when there is room."""
        environment = {**self._threads, **job.environment}
        job = Job(job.name, job.command, job.log, job.folder, environment)
        reference = self._task.options(name=job.name).remote(job)
        return _RayHandle(self._ray, reference)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._is_ours:
            self._ray.shutdown()


class _RayHandle:
    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray = ray
        self._reference = reference
        self._is_asked = False

    def poll(self) -> Ending | None:
        done, _ = self._ray.wait([self._reference], timeout=0)
        if not done:
            return None
        try:
            return self._ray.get(self._reference)
        except self._ray.exceptions.TaskCancelledError:
            return Ending(CANCELLED, "ray")
        except self._ray.exceptions.RayError as error:
            return Ending(LOST, f"ray: {' '.join(str(error).split())[:200]}")

    def stop(self) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._ray.cancel(self._reference)

    def kill(self) -> None:
        self._ray.cancel(self._reference, force=True)


# Slurm ------------------------------------------------------------------------------------------


class SlurmEngine:
    """Slurm jobs through submitit, one GPU each.

    Partition, time limit and the like come from Slurm's own SBATCH_* variables.

    Args:
        folder: where submitit keeps scripts and output.
        at_once: jobs in the queue at the same time; default: 64.
        cluster: submitit's executor; "local" runs the jobs here.
    """

    def __init__(
        self, folder: Path, *, at_once: int | None = None, cluster: str | None = None
    ) -> None:
        submitit = _import("submitit", engine="slurm")
        self.slots = at_once or 64
        cluster = cluster or os.environ.get("UDA4INST_SUBMITIT_CLUSTER") or "slurm"
        try:
            self._executor: Any = submitit.AutoExecutor(folder=folder / "slurm", cluster=cluster)
        except RuntimeError as error:
            raise UserError(
                f"--engine slurm must be started where Slurm's commands are, got {error}. "
                "Log in to a submit host, or take --engine local."
            ) from error
        self._executor.update_parameters(name="uda4inst", timeout_min=24 * 60, nodes=1)
        if cluster == "slurm":
            self._executor.update_parameters(gpus_per_node=1, cpus_per_task=4)

    def start(self, job: Job) -> Handle:
        """Submit the command."""
        return _SlurmHandle(self._executor.submit(execute, job))

    def close(self) -> None:
        """Nothing is held."""


class _SlurmHandle:
    def __init__(self, job: Any) -> None:
        self._job = job
        self._is_asked = False

    def poll(self) -> Ending | None:
        if not self._job.done():
            return None
        if self._is_asked and not self._job.paths.result_pickle.exists():
            return Ending(CANCELLED, "slurm")
        try:
            return self._job.result()
        except Exception as error:
            # submitit raises whatever the job raised, and its own errors for lost jobs.
            return Ending(LOST, f"slurm: {' '.join(str(error).split())[-200:]}")

    def stop(self) -> None:
        # Slurm sends SIGTERM to every process of the job, the trainer among them.
        if not self._is_asked:
            self._is_asked = True
            self._job.cancel()

    def kill(self) -> None:
        with suppress(Exception):
            self._job.cancel()


def _import(package: str, *, engine: str) -> Any:
    """Return an optional package, which type checkers need not know.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"--engine {engine} must have the package {package}, which cannot be imported "
            f'({error}). Install it: {Path(sys.executable).name} -m pip install "uda4inst[cluster]"'
        ) from error
