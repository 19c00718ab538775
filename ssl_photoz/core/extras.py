"""Optional dependencies: the extras of the package, and what each of them brings.

`pip install ssl-photoz` installs what embedding, probing and searching need; what only one verb
needs is an extra. A verb says which it needs (`needs`), and is refused before any work where that
is not installed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

from ssl_photoz.core.errors import ConfigError

# Name of each extra to the modules that are imported, not the packages that hold them.
EXTRAS = {
    "pretrain": ("lightly", "lightning_fabric"),
    "simulate": ("galsim",),
    "map": ("umap",),
    "explorer": ("fastapi", "uvicorn"),
    "fetch": ("httpx",),
    "detect": ("sep",),
    "hub": ("huggingface_hub",),
    "onnx": ("onnx", "onnxscript"),
    "qp": ("qp",),
    "timm": ("timm",),
    "zarr": ("zarr",),
    "scaleout": ("dask", "distributed", "hats", "lsdb"),
}

Given = ParamSpec("Given")
Made = TypeVar("Made")


def missing(extra: str) -> str:
    """What to install for an extra, in words; empty where it is installed."""
    absent = [module for module in EXTRAS[extra] if not _is_installed(module)]
    if not absent:
        return ""
    return f"{', '.join(absent)} not installed; run: pip install 'ssl-photoz[{extra}]'"


def require(extra: str, what: str) -> None:
    """Refuse work whose optional dependency is not installed.

    Args:
        extra: A key of `EXTRAS`.
        what: What needs it, such as ``reading Zarr``.

    Raises:
        ConfigError: If a module of the extra cannot be found.
    """
    if absent := missing(extra):
        raise ConfigError(f"{what}: {absent}")


def needs(extra: str) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """Make a verb refuse to start where an extra is not installed."""

    def mark(verb: Callable[Given, Made]) -> Callable[Given, Made]:
        @functools.wraps(verb)
        def checked(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            require_for(checked)
            return verb(*args, **kwargs)

        checked.needs = extra  # type: ignore[attr-defined]
        return checked

    return mark


def require_for(verb: Callable[..., object]) -> None:
    """Refuse a verb whose extra is not installed.

    Raises:
        ConfigError: If it `needs` an extra that is not there.
    """
    if extra := getattr(verb, "needs", None):
        require(extra, getattr(verb, "__name__", "this"))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module that was put out of reach
        return False
