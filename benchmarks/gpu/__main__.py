"""What only a GPU can show, in at most nine minutes.

    benchmarks/gpu/run.sh out=results                 # on a machine with a GPU
    benchmarks/gpu/run.sh --smoke out=/tmp/smoke      # the same, small, on a processor

Stages come in the order of what is most wanted; one that does not fit into the time left is left
out, and said so. Every figure is written as soon as it is there, to ``gpu.jsonl`` and ``gpu.md`` in
``out``, so that an interrupted run keeps what it has. All galaxies are SIMULATED.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.gpu import correctness, searching, speed, survey
from benchmarks.gpu.sizes import FULL, SMOKE, Sizes
from benchmarks.throughput.measure import caption, machine
from ssl_photoz.core.artefact import atomic_path

SECONDS = 540.0


class Stage(NamedTuple):
    """A stage, and the least seconds that it is begun with."""

    name: str
    run: Callable[[Report, Sizes], None]
    needs_s: float


@dataclass
class Report:
    """The figures so far, on disk after each.

    Attributes:
        folder: Folder to write to.
        ends: When the time is over, by `time.monotonic`.
        lines: Stage, what, figure and remark of each.
    """

    folder: Path
    ends: float
    lines: list[tuple[str, str, str, str]] = field(default_factory=list)
    stage: str = ""

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self.ends - time.monotonic()

    def add(self, what: str, figure: str, remark: str = "") -> None:
        """Note a figure."""
        self.lines.append((self.stage, what, figure, remark))
        print(f"{self.left_s:5.0f} s left  {self.stage}: {what}: {figure}  {remark}", flush=True)
        table = ["| stage | what | figure | |", "|---|---|---|---|"]
        table += [f"| {' | '.join(line)} |" for line in self.lines]
        if not torch.cuda.is_available():
            table = ["**No GPU: these figures say only that the script runs.**", "", *table]
        with atomic_path(self.folder / "gpu.md") as scratch:
            text = "\n".join([*table, "", caption(machine()), ""])
            scratch.write_text(text, encoding="utf-8")


STAGES = (
    Stage("correctness", correctness.measure, 30),
    Stage("one process of NCCL", correctness.one_process, 15),
    Stage("speed, ResNet-18", speed.of("resnet18", (64, 128)), 60),
    Stage("neighbours", searching.neighbours, 60),
    Stage("probes", searching.probes, 45),
    Stage("speed, ResNet-50", speed.of("resnet50", (64, 128)), 60),
    Stage("speed, ConvNeXt", speed.of("timm/convnext_nano", (64, 128)), 60),
    Stage("compiled", speed.compiled, 75),
    Stage("a simulated survey", survey.measure, 60),
)


def main(arguments: list[str]) -> int:
    """Run the stages; number of those that failed."""
    smoke = "--smoke" in arguments
    given = dict(one.split("=", 1) for one in arguments if one != "--smoke")
    if unknown := set(given) - {"out", "seconds"}:
        raise SystemExit(f"no setting {', '.join(unknown)}; there are out, seconds and --smoke")
    if not smoke and not torch.cuda.is_available():
        raise SystemExit("no GPU is seen here; --smoke runs the same script small, on a processor")
    folder = Path(given.get("out", Path(__file__).parent / "results"))
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(folder, time.monotonic() + float(given.get("seconds", SECONDS)))
    sizes, failed = SMOKE if smoke else FULL, 0
    for stage in STAGES:
        report.stage = stage.name
        if not smoke and report.left_s < stage.needs_s:
            report.add("left out", f"{report.left_s:.0f} s left", f"needs {stage.needs_s:.0f} s")
            continue
        try:
            stage.run(report, sizes)
        except Exception as error:  # the next stage may still tell something
            failed += 1
            traceback.print_exc()
            report.add("FAILED", type(error).__name__, str(error).splitlines()[0][:200])
    return failed


if __name__ == "__main__":
    raise SystemExit(min(main(sys.argv[1:]), 1))
