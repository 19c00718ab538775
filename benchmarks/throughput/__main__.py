"""Is the machine full? Speeds beside ceilings that are measured in the same run, in turn.

    python -m benchmarks.throughput
    python -m benchmarks.throughput what=train,embed seconds=240 crop_px=96
    python -m benchmarks.throughput what=scaling backbones=resnet18,timm/convnext_nano

Each question takes about ``seconds``. Cutout files, SIMULATED, are kept under ``work``; tables are
written into ``results`` beside this file.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WHAT = ("train", "embed", "augment", "read", "scaling", "shuffle", "measurements")
DEFAULTS: dict[str, Any] = {
    "what": "train,embed,augment,read,scaling,measurements",
    "seconds": 240.0,
    "rounds": 3,
    "rows": 8192,
    "data": "",
    "batch_size": 256,
    "crop_px": 64,
    "backbone": "resnet18",
    "backbones": "resnet18,resnet50,timm/convnext_nano",
    "threads": os.cpu_count() or 1,
    "work": "runs/throughput",
    "results": str(HERE / "results"),
}
TAKES = {
    "train": ("rounds", "rows", "batch_size", "crop_px", "backbone"),
    "embed": ("rounds", "rows", "batch_size", "crop_px", "backbone"),
    "augment": ("rounds", "batch_size"),
    "read": ("rounds", "rows", "batch_size"),
    "scaling": ("batch_size", "backbones"),
    "measurements": ("rounds", "batch_size", "crop_px"),
    "shuffle": ("data", "rows", "batch_size", "crop_px", "backbone"),
}


def main(arguments: list[str]) -> None:
    """Answer the questions named, one after the other."""
    given = dict(argument.split("=", 1) for argument in arguments)
    if unknown := set(given) - set(DEFAULTS):
        raise SystemExit(f"no setting {', '.join(unknown)}; there are {', '.join(DEFAULTS)}")
    settings = {name: type(usual)(given.get(name, usual)) for name, usual in DEFAULTS.items()}
    questions = settings["what"].split(",")
    if strange := set(questions) - set(WHAT):
        raise SystemExit(f"what={', '.join(strange)} is not one of {', '.join(WHAT)}")
    work, results = Path(settings["work"]), Path(settings["results"])
    for folder in (work, results):
        folder.mkdir(parents=True, exist_ok=True)
    import torch

    torch.set_num_threads(settings["threads"])
    for question in questions:
        print(f"\n{question}", flush=True)
        program = importlib.import_module(f"benchmarks.throughput.{question}")
        program.measure(
            work,
            results,
            seconds=settings["seconds"],
            **{name: settings[name] for name in TAKES[question]},
        )


if __name__ == "__main__":
    main(sys.argv[1:])
