"""Rates of several contenders, taken in turn, so that all of them see the same machine."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from ssl_photoz.core.artefact import atomic_path, write_json

Turn = Callable[[], float]  # does some work, returns images per second


def rate_of(
    step: Callable[[], int],
    *,
    seconds: float,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Repeat a step that returns how many images it took; images per second of a clock.

    Args:
        step: What is timed; one step goes before, untimed.
        seconds: How long to go on, at least one step.
        device: Whose work is waited for.
        clock: ``time.process_time`` for work in one thread: a busy machine lengthens it less.
    """
    step()
    _wait_for(device)
    images, started = 0, clock()
    while images == 0 or clock() - started < seconds:
        images += step()
        _wait_for(device)
    return images / (clock() - started)


def clock_of_threads() -> Callable[[], float]:
    """Clock of work that may use several threads.

    With one thread of torch it is that of the processor: a second thread that reads would otherwise
    cost nothing where a core is free, and everything where another program has it.
    """
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def seconds_of_threads() -> str:
    """What `clock_of_threads` counts, for the caption of a table."""
    if torch.get_num_threads() == 1:
        return "One thread of torch, seconds of the processor, all threads together."
    return "Seconds of the clock on the wall."


def in_turn(contenders: Mapping[str, Turn], *, rounds: int) -> dict[str, list[float]]:
    """Let contenders work one after the other, round after round.

    Args:
        contenders: What to run, by name.
        rounds: How often each gets its turn.

    Returns:
        Images per second of each, one per round.
    """
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, turn in contenders.items():
            rates[name].append(turn())
            print(f"round {number}  {name:<44} {rates[name][-1]:12,.0f} images/s", flush=True)
    return rates


def ratios(rates: Mapping[str, list[float]], ceiling: str) -> dict[str, list[float]]:
    """Divide by the ceiling's rate in the same round."""
    return {
        name: [one / top for one, top in zip(some, rates[ceiling], strict=True)]
        for name, some in rates.items()
    }


def write_table(
    folder: Path, what: str, rates: Mapping[str, list[float]], *, ceiling: str, **facts: object
) -> None:
    """Write ``<what>.json`` with every round, and ``<what>.md`` with medians.

    Args:
        folder: Folder to write to.
        what: Name of the table.
        rates: Images per second, by contender and round.
        ceiling: The contender that the others are divided by.
        **facts: What else must be known: ``note`` stands below the table.
    """
    shares = ratios(rates, ceiling)
    about = {**machine(), **facts}
    write_json(folder / f"{what}.json", {**about, "ceiling": ceiling, "images_per_s": rates})
    lines = [f"| {what} | images/s | of the ceiling | range of rounds |", "|---|---|---|---|"]
    for name, some in rates.items():
        share = shares[name]
        spread = f"{min(share):.0%} to {max(share):.0%}"
        cells = [name, f"{median(some):,.0f}", f"{median(share):.1%}", spread]
        lines.append(f"| {' | '.join(cells)} |")
    with atomic_path(folder / f"{what}.md") as scratch:
        scratch.write_text("\n".join([*lines, "", caption(about), ""]), encoding="utf-8")
    print("\n".join(lines))


def caption(about: Mapping[str, Any]) -> str:
    """Say where and when a table was made, and whether its galaxies are simulated."""
    galaxies = "SIMULATED" if about.get("simulated", True) else "Real"
    return (
        f"{galaxies} galaxies. {about['machine']}, {about['threads']} threads, torch "
        f"{about['torch']}, {about['date']}, load {about['load']:.1f}. {about.get('note', '')}"
    ).strip()


def machine() -> dict[str, Any]:
    """Describe this machine and how busy it is."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "machine": f"{name}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": f"{datetime.date.today()}",
        "load": os.getloadavg()[0],
    }


def forget(path: Path) -> None:
    """Drop a file from the memory of the operating system, so that it is read from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def sequential_mb_per_s(path: Path, *, at_most: int = 1 << 30) -> float:
    """Read the beginning of a file from one end to the other, 10^6 bytes per second."""
    buffer, done, started = np.empty(1 << 24, np.uint8), 0, time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while done < at_most and (got := file.readinto(buffer.data)):
            done += got
    return done / 1e6 / (time.perf_counter() - started)


def _wait_for(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"
