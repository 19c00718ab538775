"""Signals that end a run: at once, or after the step in progress.

A scheduler sends SIGTERM before it kills, and SIGUSR1 where it is asked to, before time runs out.
They end any verb, with exit status 143 and 75 (EX_TEMPFAIL of sysexits.h: to be tried again); the
same command goes on later. All work is written whole or not at all, so it may end anywhere; only
training asks to be let finish its step, to write a checkpoint.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ssl_photoz.core.errors import SslPhotozError

TRY_AGAIN = 75
SCHEDULER = (signal.SIGTERM, signal.SIGUSR1)


class StoppedError(SslPhotozError):
    """A signal has ended the run; the same command goes on."""

    def __init__(self, signum: int, done: str = "") -> None:
        detail = f", {done}" if done else ""
        name = signal.Signals(signum).name
        super().__init__(f"stopped by {name}{detail}; run the same command to go on")
        self.exit_status = TRY_AGAIN if signum == signal.SIGUSR1 else 128 + signum


class StopRequest:
    """Whether a signal has asked the run to stop; Ctrl-C twice does not wait."""

    signum = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Note a signal; this is its handler."""
        if self.signum == signum == signal.SIGINT:
            raise StoppedError(signum)
        self.signum = signum


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 raise `StoppedError` wherever the program is."""
    own = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == own:
            raise StoppedError(signum)
        signal.signal(signum, signal.SIG_DFL)  # a worker that was forked just dies of it
        os.kill(os.getpid(), signum)

    with _handled(stop, SCHEDULER):
        yield


@contextmanager
def stopping_when_asked() -> Iterator[StopRequest]:
    """Only take note of SIGTERM, SIGUSR1 and SIGINT; whoever asks for this looks at the note."""
    request = StopRequest()
    with _handled(request, (*SCHEDULER, signal.SIGINT)):
        yield request


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], signals: tuple[signal.Signals, ...]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # signals go to the main thread
        yield
        return
    before = {one: signal.signal(one, handler) for one in signals}
    try:
        yield
    finally:
        for one, old in before.items():
            signal.signal(one, old)
