"""Import torchvision beside a CPU-only torch.

Torchvision's Linux wheels are compiled for CUDA torch. Beside a CPU build of torch their
compiled part does not load, and ``import torchvision`` then fails while it describes two
operators of object detection that it expected to find there. Nothing here detects objects:
declaring the two makes the import succeed. Where torchvision imports by itself, nothing is
done.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import torch

MISSING = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_declared: list[torch.library.Library] = []


def import_torchvision() -> ModuleType:
    """Import torchvision, with or without its compiled part.

    Call it before importing lightly, which imports torchvision for its own use.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in MISSING:
        library.define(operator + SIGNATURE)  # type: ignore[no-untyped-call]
    _declared.append(library)  # the declarations live as long as this object
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision")
