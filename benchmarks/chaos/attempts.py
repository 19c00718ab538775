"""Processes that are started, and disturbed by signals."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1)
SOON_SECONDS = 0.6


class Attempt(NamedTuple):
    """A process that got a signal.

    Attributes:
        verb: What it ran.
        signal: Name of the signal.
        status: What it ended with; negative: killed by that signal.
        made: Steps or shards that it had written.
    """

    verb: str
    signal: str
    status: int
    made: int


def leave_alone(command: list[str]) -> None:
    """Run a command to its end.

    Raises:
        RuntimeError: If it fails.
    """
    if status := _ended(_start(command)):
        raise RuntimeError(f"{command[0]} ended with status {status}")


def disturb(
    command: list[str], run: Path, rng: np.random.Generator, *, at_most: int
) -> list[Attempt]:
    """Run a command again and again until it gets to its end; the signals it got meanwhile.

    A signal is sent some time after zero to six steps or shards have been written.
    """
    attempts: list[Attempt] = []
    while len(attempts) < at_most:
        before, awaited = _progress(run), int(rng.integers(0, 7))
        process = _start(command)
        while _is_running(process) and _progress(run) - before < awaited:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, SOON_SECONDS))
        chosen = SIGNALS[rng.integers(len(SIGNALS))]
        if not _is_running(process):
            break
        os.kill(process, chosen)
        status = _ended(process)
        made = _progress(run) - before
        attempts.append(Attempt(command[0], chosen.name, status, made))
        if status == 0:  # it came too late to stop anything
            attempts.pop()
            break
    leave_alone(command)
    return attempts


def _start(command: list[str]) -> int:
    from ssl_photoz import cli
    from ssl_photoz.embeddings import embed  # noqa: F401
    from ssl_photoz.training import pretraining  # noqa: F401 (imported here, once, for all)

    sys.stdout.flush()
    if process := os.fork():
        return process
    status = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        status = cli.main(command)
    finally:
        os._exit(status)


def _is_running(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _progress(run: Path) -> int:
    checkpoints = run.glob("encoder/step-*.ckpt")
    newest = max((int(path.stem.removeprefix("step-")) for path in checkpoints), default=0)
    return newest + len(list(run.glob("embeddings/part-*.parquet")))
