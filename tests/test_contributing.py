"""The examples of CONTRIBUTING.md are what they say: a format, an augmentation, a verb."""

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from ssl_photoz.augment.draws import uniform
from ssl_photoz.core.artefact import write_json
from ssl_photoz.core.config import parse
from ssl_photoz.core.types import PathLike
from ssl_photoz.cutouts.formats.hdf5 import examine, looking_into, root_items
from ssl_photoz.cutouts.formats.hdf5_images import Hdf5Images
from ssl_photoz.cutouts.formats.registry import FORMATS, Format
from ssl_photoz.cutouts.formats.stored import Stored
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.schema import Overrides, describe
from ssl_photoz.embeddings.store import Embeddings

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FORMAT, AUGMENTATION, VERB = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
GIVEN = {
    **{one.__name__: one for one in (root_items, looking_into, examine, describe, Hdf5Images)},
    **{one.__name__: one for one in (Overrides, Embeddings, Path, uniform, write_json)},
    **{"torch": torch, "Tensor": torch.Tensor, "PathLike": PathLike, "Stored": Stored},
}


def run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = dict(GIVEN)
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    return names


def test_examples_are_short() -> None:
    assert max(block.count("\n") for block in (FORMAT, AUGMENTATION, VERB)) < 20


def test_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(FORMAT)
    entry = Format(made["recognise"], made["open_stored"], "stamps")
    monkeypatch.setitem(FORMATS, "stamps", entry)
    pixels = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype("f4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["stamps"], file["redshift"] = pixels, np.array([0.1, 0.2, 0.3, np.nan], "f4")
    cutouts = Cutouts.open(tmp_path / "a.h5")
    assert cutouts.source.read_as == "stamps"
    assert np.array_equal(cutouts[:], pixels)
    assert cutouts.z[:3] == pytest.approx([0.1, 0.2, 0.3])


def test_an_augmentation() -> None:
    vignette = run(AUGMENTATION)["vignette"]
    flux = torch.ones(2, 3, 4, 4)
    dimmed = vignette(flux, depth=0.5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(dimmed[..., 0], flux[..., 0])
    assert ((dimmed[..., -1] >= 0.5) & (dimmed[..., -1] < 1)).all()


def test_a_verb(make_store: Any, tmp_path: Path) -> None:
    count, store = run(VERB)["count"], make_store(n=50)
    out = tmp_path / "count.json"
    arguments = [str(store.folder), f"out={out}", "z_max=0.2"]
    assert count(**parse(count, arguments, prog="ssl-photoz count")) == out
    told = json.loads(out.read_text())
    assert told == {"z_max": 0.2, "n": int((store.column("z") < 0.2).sum())}
