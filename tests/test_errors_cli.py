"""Bad input at the command line: one line, what and where, status 2, nothing half-written."""

import errno
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ssl_photoz import cli

N = 12


def cutout_file(path: Path, **changed: Any) -> Path:
    """Write a small file in the challenge's layout; None leaves a dataset out."""
    rng = np.random.default_rng(0)
    datasets = {
        "images": rng.normal(0, 0.01, (N, 3, 16, 16)).astype("f4"),
        "TARGETID": np.arange(N),
        "RA": np.linspace(10, 20, N),
        "DEC": np.linspace(-5, 5, N),
        "Z": np.linspace(0.01, 0.4, N).astype("f4"),
    }
    with h5py.File(path, "w") as file:
        for name, values in (datasets | changed).items():
            if values is not None:
                file[name] = values
    return path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *, untouched: Path) -> str:
    """Run a verb that must fail; return the one line it says."""
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err.rpartition("\r")[2]  # a progress bar wipes itself with \r
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not list(untouched.rglob("*.partial*"))
    assert not list(untouched.rglob("card.json"))
    return said


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"images": np.zeros((N, 16, 16), "f4")}, r"shape \(12, 16, 16\), expected"),
        ({"images": np.zeros((N, 2, 16, 16), "f4")}, "2 bands"),
        ({"images": np.zeros((N, 3, 16, 16), "S4")}, "expected float16"),
        ({"images": np.zeros((N, 3, 16, 16), "c8")}, "is complex64, expected"),
        ({"images": np.zeros((0, 3, 16, 16), "f4")}, "zero cutouts"),
        ({"RA": None}, "no `RA`"),
        ({"RA": np.array([b"10h"] * N)}, "`RA` is"),
        ({"Z": np.zeros(N - 1)}, "`Z` has 11"),
        ({"PSFSIZE": np.ones((N, 2))}, r"`PSFSIZE` has shape \(12, 2\), expected \(12, 3\)"),
    ],
)
@pytest.mark.parametrize("verb", ["inspect", "pretrain"])
def test_a_wrong_layout_is_refused(
    verb: str,
    changed: dict[str, Any],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = cutout_file(tmp_path / "a.h5", **changed)
    said = refused([verb, f"data={file}", f"out={tmp_path / 'o'}"], capsys, untouched=tmp_path)
    assert str(file) in said
    assert re.search(says, said)


def test_a_catalogue_is_no_cutout_file_but_can_be_inspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = cutout_file(tmp_path / "a.h5", images=None)
    said = refused(
        ["pretrain", f"data={file}", f"out={tmp_path / 'o'}"], capsys, untouched=tmp_path
    )
    assert "no dataset `images`; it has" in said
    assert cli.main(["inspect", f"data={file}", f"out={tmp_path / 'seen'}"]) == 0
    said = capsys.readouterr().out
    assert "a catalogue without cutouts" in said
    assert re.search(rf"rows +{N}\n", said)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "not there|[Nn]o cutout file"),
        (b"", r"is empty \(0 bytes\)"),
        (b"SIMPLE  =                    T", "is not an HDF5 file|damaged table"),
        ("half", "truncated"),
    ],
)
@pytest.mark.parametrize("verb", ["inspect", "pretrain"])
def test_a_file_that_is_no_cutout_file_is_refused(
    verb: str,
    content: bytes | str | None,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "a.h5"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == "half":
        whole = cutout_file(file).read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
    said = refused([verb, f"data={file}", f"out={tmp_path / 'o'}"], capsys, untouched=tmp_path)
    assert str(file) in said
    assert re.search(says, said)


def test_a_bad_galaxy_does_not_stop_an_inspection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = np.random.default_rng(0).normal(0, 0.01, (N, 3, 16, 16)).astype("f4")
    images[1, 0, 3, 3] = np.nan
    images[2] = 0
    z = np.linspace(0.01, 0.4, N)
    z[3] = np.nan
    file = cutout_file(tmp_path / "a.h5", images=images, Z=z, TARGETID=np.r_[5, 5, np.arange(2, N)])
    assert cli.main(["inspect", str(file), f"out={tmp_path / 'o'}"]) == 0
    assert (tmp_path / "o" / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed", "data={}/a.h5", "encoder={}/none", "out={}/o"],
        ["probe", "embeddings={}/none", "out={}/o"],
        ["predict", "embeddings={}/none", "probe={}/none", "out={}/o.parquet"],
        ["index", "embeddings={}/none", "out={}/o"],
        ["query", "embeddings={}/none", "index={}/none", "id=1", "out={}/o.csv"],
        ["dwarfs", "embeddings={}/none", "index={}/none", "out={}/o"],
        ["map", "embeddings={}/none", "out={}/o"],
        ["report", "run={}/none"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_missing_parent_is_named(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cutout_file(tmp_path / "a.h5")
    filled = [argument.format(tmp_path) for argument in arguments]
    assert f"{tmp_path / 'none'}" in refused(filled, capsys, untouched=tmp_path)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("verb", ["pretrain", "embed", "index", "probe"])
def test_a_setting_left_out_is_named(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "data" in said or "embeddings" in said


def test_an_output_that_cannot_be_made_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = cutout_file(tmp_path / "a.h5")
    (tmp_path / "o").write_text("a file where a folder is wanted")
    said = refused(["inspect", str(file), f"out={tmp_path / 'o'}"], capsys, untouched=tmp_path)
    assert str(tmp_path / "o") in said
    assert (tmp_path / "o").read_text() == "a file where a folder is wanted"


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "that you may write to")],
)
def test_a_disk_that_refuses_is_said(
    number: int,
    remedy: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = cutout_file(tmp_path / "a.h5")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    said = refused(["inspect", str(file), f"out={tmp_path / 'o'}"], capsys, untouched=tmp_path)
    assert remedy in said
    assert list((tmp_path / "o").iterdir()) == []
