"""The import rules of docs/architecture.md, kept by reading the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LEVEL_0 = (
    "errors",
    "types",
    "alike",
    "provenance",
    "inputs",
    "runs",
    "config",
    "stopping",
    "allocation",
    "sealed",
    "__version__",
)
ROOMS = (
    *("cutouts", "census", "augment", "encoders", "contrast", "baselines", "adapt", "correct"),
    *("embeddings", "redshift", "similarity", "dwarfs", "explorer", "catalogues", "fetching"),
)
STORE = ("embeddings.store", "embeddings.tables")
MAY_IMPORT = {  # the longest prefix of a module's name decides
    "__init__": (),
    **dict.fromkeys(LEVEL_0, LEVEL_0),
    **{room: (*LEVEL_0, room) for room in ("cutouts", "augment", "encoders", "report")},
    "cutouts.formats.catalogue": (*LEVEL_0, "cutouts", "embeddings.tables"),
    "embeddings": (*LEVEL_0, *STORE),
    "embeddings.embed": (*LEVEL_0, "cutouts", "encoders", "embeddings"),
    "embeddings.single": (*LEVEL_0, "cutouts", "encoders", "embeddings"),
    "catalogues": (*LEVEL_0, "catalogues", "embeddings.tables"),
    "catalogues.populations": (*LEVEL_0, "catalogues", "redshift.lowz_cuts"),
    "fetching": (*LEVEL_0, "fetching", "catalogues.catalogue", "cutouts"),
    "contrast": (*LEVEL_0, "contrast", "augment", "encoders"),
    "contrast.pretraining": (*LEVEL_0, "contrast", "augment", "encoders", "cutouts"),
    "contrast.account": (*LEVEL_0, "contrast", "cutouts"),
    "census": (*LEVEL_0, "census", "cutouts", "report.sections"),
    "baselines": (*LEVEL_0, "baselines", "augment", "encoders"),
    "adapt": (*LEVEL_0, "adapt"),
    "adapt.adversary": (*LEVEL_0, "adapt", "baselines"),
    "adapt.fields": (*LEVEL_0, "adapt", "augment", "cutouts"),
    "adapt.embeddings": (*LEVEL_0, "adapt.linear", *STORE),
    "redshift": (*LEVEL_0, "redshift", *STORE),
    "correct": (*LEVEL_0, "correct", "redshift", *STORE),
    "similarity": (*LEVEL_0, "similarity", *STORE),
    "dwarfs": (*LEVEL_0, "dwarfs", "similarity", *STORE),
    "explorer": (
        *(*LEVEL_0, "explorer", *STORE, "similarity", "dwarfs.verdicts"),
        *("redshift.density_table", "report.gather", "cutouts.single"),
    ),
    "recipes": (),
    "pretrain": (*LEVEL_0, *ROOMS, "report"),
    "probe": (
        *(*LEVEL_0, "redshift", "correct", "similarity", "dwarfs", "explorer", "report"),
        *STORE,
    ),
    "probe.join": (*LEVEL_0, *STORE, "embeddings.joining"),
    "probe.adapt": (*LEVEL_0, *STORE, "adapt.embeddings"),
    "cli": LEVEL_0,
    "path": (*LEVEL_0, "cli", "recipes.probe"),
}
MAY_IMPORT_LATE = {
    "probe": ("embeddings.single",),
    "explorer": ("embeddings.embed",),
}
ONLY_IN = {
    "pytorch_lightning": ("contrast", "pretrain"),
    "lightly": ("contrast",),
    "pytorch_metric_learning": ("contrast.order", "similarity.quality"),
    "qp": ("redshift.qp_export",),
    "huggingface_hub": ("encoders.hub",),
    "httpx": ("fetching.service",),
    "sfdmap2": ("fetching.dust",),
    "dustmaps": ("fetching.dust",),
    "wandb": ("contrast.history",),
    "umap": ("similarity.map",),
    "faiss": ("similarity.index_faiss", "redshift.knn"),
    "fastapi": ("explorer",),
    "starlette": ("explorer",),
    "pydantic": ("explorer",),
    "uvicorn": ("probe.explore",),
    "galsim": ("cutouts",),
    "timm": ("encoders.timm_stages",),
    "zarr": ("cutouts.formats.zarr_group",),
    "h5py": ("cutouts", "pretrain", "explorer.unpack", "fetching.assembly"),
    "jinja2": ("report",),
}
HEAVY = {
    *("torch", "torchvision", "pytorch_lightning", "lightly", "umap", "faiss", "galsim", "numba"),
    *("sklearn", "scipy", "matplotlib", "h5py", "pyarrow", "astropy", "astropy_healpix", "pandas"),
    *("pytorch_metric_learning", "safetensors", "PIL", "jinja2", "qp", "timm"),
    *("huggingface_hub", "httpx", "sfdmap2", "dustmaps"),
    *("fastapi", "starlette", "pydantic", "uvicorn"),
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


def own(target: str) -> str | None:
    """Name a target inside the package, programs by their folder; None if it is outside."""
    for prefix in ("ssl_photoz.recipes.pretrain", "ssl_photoz.recipes.probe"):
        if target.startswith(f"{prefix}."):
            return target.removeprefix("ssl_photoz.recipes.")
    if target.startswith(("pretrain.", "probe.", "tests.")):
        return target
    return target.removeprefix("ssl_photoz.") if target.startswith("ssl_photoz") else None


def violations(module: str, source: str) -> list[str]:
    """Say what a module's imports break; module is named from inside ssl_photoz."""
    rule = max((p for p in MAY_IMPORT if within(module, (p,))), key=len, default=None)
    if rule is None:
        return [f"{module} has no row in the picture"]
    program = module.startswith(("pretrain.", "probe."))
    found = []
    for target, line, late in imports_of(source):
        where = f"{module}:{line} imports {target}"
        top = target.split(".")[0]
        inside = own(target)
        if target.startswith("."):
            found.append(f"{where}: relative")
        elif target == "a computed name":
            if module != "cli":
                found.append(where)
        elif inside is not None:
            allowed = MAY_IMPORT[rule] + (MAY_IMPORT_LATE.get(rule, ()) if late else ())
            if not within(inside, allowed):
                found.append(f"{where}: not allowed in {rule}")
        elif top in ONLY_IN and not within(module, ONLY_IN[top]):
            found.append(f"{where}: {top} belongs in {', '.join(ONLY_IN[top])}")
        elif rule in (*LEVEL_0, "cli", "path"):
            if top not in {*sys.stdlib_module_names, "numpy", "jsonargparse", "yaml"}:
                found.append(f"{where}: level 0 keeps to the standard library, numpy, YAML")
        elif top in HEAVY and not late and (program or module.endswith(".settings")):
            found.append(f"{where}: heavy, import it inside a function")
    if program and source.count("\n") > 150:
        found.append(f"{module} is longer than 150 lines")
    if VAGUE & set(module.split(".")):
        found.append(f"{module} has a name that says nothing")
    return found


def modules() -> dict[str, Path]:
    files = {}
    for top in ("ssl_photoz", "pretrain", "probe"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            files[name.removeprefix("ssl_photoz.")] = path
    return files


def test_the_walk_sees_every_room() -> None:
    tops = {name.split(".")[0] for name in modules()}
    assert {*LEVEL_0[:4], *ROOMS, "report", "cli", "path", "pretrain", "probe"} <= tops


@pytest.mark.parametrize("module", modules())
def test_imports_follow_the_picture(module: str) -> None:
    assert violations(module, modules()[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("runs", "import scipy.stats", "level 0"),
        ("runs", "from ssl_photoz.cutouts import reader", "not allowed in runs"),
        ("cutouts.reader", "from ssl_photoz.augment.psf import widen", "not allowed in cutouts"),
        ("augment.psf", "import ssl_photoz.encoders.stretch", "not allowed in augment"),
        ("augment.psf", "def f():\n    from ssl_photoz import cutouts", "not allowed in augment"),
        ("encoders.stretch", "from ..cutouts import reader", "relative"),
        ("encoders.a", "if TYPE_CHECKING:\n    from ssl_photoz.cutouts import b", "not allowed"),
        ("contrast.moco", "from ssl_photoz.cutouts import batches", "not allowed in contrast"),
        ("embeddings.store", "from ssl_photoz.encoders import encoder", "not allowed in embedd"),
        ("redshift.knn", "from ssl_photoz.similarity.index import x", "not allowed in redshift"),
        ("similarity.query", "from ssl_photoz.redshift import knn", "not allowed in similarity"),
        ("catalogues.cuts", "from ssl_photoz.redshift import lowz_cuts", "not allowed in catal"),
        ("fetching.answers", "from ssl_photoz.embeddings import store", "not allowed in fetching"),
        ("fetching.answers", "import httpx", "httpx belongs in"),
        ("dwarfs.truth", "from ssl_photoz.redshift import knn", "not allowed in dwarfs"),
        ("similarity.map", "from ssl_photoz.embeddings.embed import e", "not allowed in simil"),
        ("similarity.index", "import pytorch_lightning as pl", "pytorch_lightning belongs in"),
        ("similarity.index", "def f():\n    import umap", "umap belongs in"),
        ("redshift.mlp", "import faiss", "faiss belongs in"),
        ("report.page", "from ssl_photoz.redshift import metrics", "not allowed in report"),
        ("pretrain.moco", "from ssl_photoz.recipes.pretrain import embed", "not allowed"),
        ("pretrain.moco", "from pretrain.embed import main", "not allowed in pretrain"),
        ("probe.map", "from ssl_photoz.cutouts import reader", "not allowed in probe"),
        ("probe.map", "from ssl_photoz.encoders import encoder", "not allowed in probe"),
        ("pretrain.moco", "import torch", "heavy"),
        ("pretrain.moco", "class A:\n    import torch", "heavy"),
        ("contrast.settings", "from torch import nn", "heavy"),
        ("contrast.moco", "from ssl_photoz.recipes.pretrain.moco import main", "not allowed"),
        ("redshift.knn", "import importlib\nimportlib.import_module(name)", "computed name"),
        ("redshift.knn", "__import__('ssl_photoz.cutouts')", "not allowed in redshift"),
        ("cutouts.utils", "", "says nothing"),
        ("common.a", "", "no row"),
        ("probe.map", "x = 1\n" * 151, "longer than 150"),
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
        ("pretrain.moco", "def main():\n    import torch\n    import pytorch_lightning"),
        ("pretrain.moco", "if TYPE_CHECKING:\n    import torch"),
        ("embeddings.embed", "from ssl_photoz.embeddings import store"),
        ("redshift.knn", "import faiss\nfrom ssl_photoz.embeddings.store import read"),
        ("contrast.moco", "import torch\nfrom ssl_photoz.encoders.encoder import Encoder"),
    ],
)
def test_the_checker_lets_pass_what_is_right(module: str, source: str) -> None:
    assert violations(module, source) == []
