"""The import rules of docs/architecture.md, kept by reading the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (  # from the ground up: a room imports itself and rooms of the floors below it
    ("core",),
    ("catalog", "augment", "encoders"),
    ("simulator", "cutouts"),
    ("embeddings", "training", "qa", "fetching"),
    ("detection", "photoz", "similarity", "reports"),
    ("nearby",),
    ("explorer", "scaleout"),
    ("survey", "pretrain", "probe"),
    ("cli",),
    ("pipeline",),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
PROGRAMS = ("survey", "pretrain", "probe")
FACES = ("__init__", "recipes")  # name things of other rooms and import nothing when they load
LIBRARIES_OF_CORE = {*sys.stdlib_module_names, "numpy", "jsonargparse", "yaml"}
ONLY_IN = {
    "lightning_fabric": ("training.engine",),
    "pytorch_lightning": (),
    "lightly": ("training",),
    "pytorch_metric_learning": ("training.label_losses", "similarity.quality"),
    "qp": ("photoz.density_table",),
    "huggingface_hub": ("encoders.hub",),
    "httpx": ("fetching.service",),
    "sfdmap2": ("fetching.dust",),
    "dustmaps": ("fetching.dust",),
    "wandb": ("training.history",),
    "umap": ("similarity.map",),
    "faiss": ("similarity.index_faiss", "photoz.knn"),
    "fastapi": ("explorer",),
    "starlette": ("explorer",),
    "pydantic": ("explorer",),
    "uvicorn": ("probe.explore",),
    "galsim": ("simulator",),
    "sep": ("detection",),
    "timm": ("encoders.backbones",),
    "zarr": ("cutouts.formats.zarr_group",),
    "h5py": ("cutouts", "simulator", "fetching.assembly", "explorer.unpack"),
    "jinja2": ("core.html",),
    "hats": ("scaleout.hats",),
    "lsdb": (),
    "dask": ("scaleout.runners",),
    "distributed": ("scaleout.runners", "scaleout.index_workers"),
    "dask_jobqueue": ("scaleout.runners",),
}
HEAVY = {
    *("torch", "torchvision", "lightning_fabric", "lightly", "umap", "faiss", "galsim", "numba"),
    *("sklearn", "scipy", "matplotlib", "h5py", "pyarrow", "astropy", "astropy_healpix", "pandas"),
    *("pytorch_metric_learning", "safetensors", "PIL", "jinja2", "qp", "timm"),
    *("huggingface_hub", "httpx", "sfdmap2", "dustmaps"),
    *("fastapi", "starlette", "pydantic", "uvicorn", "sep"),
    *("hats", "lsdb", "dask", "distributed", "dask_jobqueue"),
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


class Import(NamedTuple):
    target: str
    line: int
    late: bool


def imports_of(source: str) -> Iterator[Import]:
    """Yield absolute names; `from a import b` counts as `a.b`; late = inside a function."""
    tree = ast.parse(source)
    late = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for below in ast.walk(node)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{'.' * node.level}{node.module or ''}.{a.name}" for a in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            given = node.args[0] if node.args else None
            names = [given.value if isinstance(given, ast.Constant) else "a computed name"]
        for name in names:
            yield Import(name, node.lineno, id(node) in late)


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == p or name.startswith(f"{p}.") for p in prefixes)


def inside_name(target: str) -> str | None:
    """Name a target as its module is named here; None if it is outside the package."""
    if target.split(".")[0] in (*PROGRAMS, "tests"):
        return target
    if not within(target, ("ssl_photoz",)):
        return None
    return target.removeprefix("ssl_photoz.").removeprefix("recipes.")


def room_of(module: str) -> str:
    return module.split(".")[0]


def may_import(module: str, target: str, *, late: bool = True) -> bool:
    """Say whether a room may see another, or a program another module."""
    here, there = room_of(module), room_of(target)
    if there in ("ssl_photoz", "VERBS"):
        return True
    if there not in FLOOR_OF:
        return False
    if here in FACES:  # the rest is for type checkers alone
        return late or target in ("core.version.__version__", "core.threads.limit_pools")
    if here == there:
        return here not in PROGRAMS
    return FLOOR_OF[there] < FLOOR_OF[here]


def violations(module: str, source: str) -> list[str]:
    """Say what a module's imports break; module is named from inside ssl_photoz."""
    room = room_of(module)
    if room not in FLOOR_OF and room not in FACES:
        return [f"{module} has no place on any floor"]
    found = []
    for target, line, late in imports_of(source):
        where = f"{module}:{line} imports {target}"
        top = target.split(".")[0]
        inside = inside_name(target)
        if target.startswith("."):
            found.append(f"{where}: relative")
        elif target == "a computed name":
            if module not in ("cli", "__init__"):
                found.append(where)
        elif inside is not None:
            if not may_import(module, inside, late=late):
                found.append(f"{where}: not on a floor below {room}")
        elif top in ONLY_IN and not within(module, ONLY_IN[top]):
            found.append(f"{where}: {top} belongs in {', '.join(ONLY_IN[top])}")
        elif room in ("core", "cli", "pipeline"):
            if top not in LIBRARIES_OF_CORE and not within(module, ONLY_IN.get(top, ())):
                found.append(f"{where}: core keeps to the standard library, numpy, YAML")
        elif top in HEAVY and not late and (room in PROGRAMS or module.endswith("settings")):
            found.append(f"{where}: heavy, import it inside a function")
    if VAGUE & set(module.split(".")):
        found.append(f"{module} has a name that says nothing")
    return found


def modules() -> dict[str, Path]:
    files = {}
    for top in ("ssl_photoz", *PROGRAMS):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            files[name.removeprefix("ssl_photoz.")] = path
    return files


def test_the_walk_sees_every_room() -> None:
    assert {room_of(name) for name in modules()} == {*FLOOR_OF, *FACES}


@pytest.mark.parametrize("module", modules())
def test_imports_lead_down(module: str) -> None:
    assert violations(module, modules()[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("core.artefact", "import scipy.stats", "core keeps to"),
        ("core.artefact", "from ssl_photoz.cutouts import reader", "not on a floor below core"),
        ("core.artefact", "import jinja2", "jinja2 belongs in core.html"),
        ("cutouts.reader", "from ssl_photoz.embeddings.store import e", "not on a floor"),
        ("augment.psf", "import ssl_photoz.encoders.stretch", "not on a floor below augment"),
        ("augment.psf", "def f():\n    from ssl_photoz import cutouts", "not on a floor"),
        ("encoders.stretch", "from ..cutouts import reader", "relative"),
        ("encoders.a", "if TYPE_CHECKING:\n    from ssl_photoz.cutouts import b", "not on a floor"),
        ("training.moco", "from ssl_photoz.embeddings import store", "not on a floor below train"),
        ("photoz.knn", "from ssl_photoz.similarity.index import x", "not on a floor below photoz"),
        ("similarity.query", "from ssl_photoz.photoz import knn", "not on a floor below similar"),
        ("fetching.answers", "import httpx", "httpx belongs in"),
        ("similarity.index", "from lightning_fabric import Fabric", "lightning_fabric belongs in"),
        ("similarity.index", "def f():\n    import umap", "umap belongs in"),
        ("photoz.mlp", "import faiss", "faiss belongs in"),
        ("pretrain.embed", "from ssl_photoz.recipes.pretrain import align", "not on a floor"),
        ("pretrain.align", "from pretrain.embed import main", "not on a floor below pretrain"),
        ("probe.map", "from ssl_photoz.recipes.pretrain import embed", "not on a floor"),
        ("pretrain.pretrain", "import torch", "heavy"),
        ("pretrain.pretrain", "class A:\n    import torch", "heavy"),
        ("training.settings", "from torch import nn", "heavy"),
        ("training.moco", "from ssl_photoz.recipes.pretrain.embed import main", "not on a floor"),
        ("photoz.knn", "import importlib\nimportlib.import_module(name)", "computed name"),
        ("photoz.knn", "__import__('ssl_photoz.explorer')", "not on a floor below photoz"),
        ("__init__", "from ssl_photoz.photoz.knn import KNN", "not on a floor below __init__"),
        ("cutouts.utils", "", "says nothing"),
        ("common.a", "", "no place"),
    ],
)
def test_the_checker_finds_what_is_wrong(module: str, source: str, complaint: str) -> None:
    found = violations(module, source)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("probe.query", "def main():\n    from ssl_photoz.embeddings.single import embed_file"),
        ("pretrain.pretrain", "def main():\n    import torch\n    import sklearn"),
        ("pretrain.pretrain", "if TYPE_CHECKING:\n    import torch"),
        ("core.html", "def f():\n    from jinja2 import Template"),
        ("embeddings.embed", "from ssl_photoz.embeddings import store"),
        ("photoz.knn", "import faiss\nfrom ssl_photoz.embeddings.store import read"),
        ("training.moco", "import torch\nfrom ssl_photoz.encoders.encoder import Encoder"),
        ("__init__", "import importlib\nimportlib.import_module(name)"),
    ],
)
def test_the_checker_lets_pass_what_is_right(module: str, source: str) -> None:
    assert violations(module, source) == []
