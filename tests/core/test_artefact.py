"""Artefacts appear whole or not at all, and are recognised."""

import errno
import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ssl_photoz.core import artefact, workplace
from ssl_photoz.core.errors import ArtefactError, MismatchError


@dataclass(frozen=True)
class Settings:
    epochs: int = 3
    out: Path = Path("somewhere")


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with artefact.atomic_path(path) as scratch:
            scratch.write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_write_is_not_seen_before_it_is_done(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.parquet"
    with artefact.atomic_path(path) as scratch:
        scratch.write_text("new")
        assert scratch.suffix == ".parquet"
        assert not path.exists()
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["a.parquet"]


def test_the_file_gets_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with artefact.atomic_path(tmp_path / "a") as scratch:
            scratch.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_full_disk_leaves_the_old_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefact.write_card(tmp_path, "probe", label="old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        artefact.write_card(tmp_path, "probe", label="new")
    monkeypatch.undo()
    assert artefact.read_card(tmp_path, "probe")["label"] == "old"
    assert os.listdir(tmp_path) == ["card.json"]


def test_a_card_says_what_made_it(tmp_path: Path) -> None:
    written = artefact.write_card(
        tmp_path, "encoder", config=Settings(), parents={"cutouts": "ab"}, sizes=np.arange(3)
    )
    card = artefact.read_card(tmp_path, "encoder")
    assert card == written
    assert card["config"] == {"epochs": 3, "out": "somewhere"}
    assert card["parents"] == {"cutouts": "ab"}
    assert card["sizes"] == [0, 1, 2]


def test_a_card_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        artefact.write_card(tmp_path, "probe", bias=float("nan"))
    assert not (tmp_path / "card.json").exists()


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (None, ArtefactError, "has no card.json"),
        ("{", ArtefactError, "not valid JSON"),
        ("[]", ArtefactError, "holds list"),
        ('{"kind": "map", "schema_version": 1}', MismatchError, "holds a 'map' artefact"),
        ('{"kind": "probe", "schema_version": 99}', ArtefactError, "upgrade ssl_photoz"),
        ('{"kind": "probe"}', ArtefactError, "card schema None"),
    ],
)
def test_a_card_that_cannot_be_used_is_said(
    tmp_path: Path, text: str | None, error: type[Exception], says: str
) -> None:
    if text is not None:
        (tmp_path / "card.json").write_text(text)
    with pytest.raises(error, match=says):
        artefact.read_card(tmp_path, "probe")


@pytest.mark.parametrize(("former", "kind"), [("pdf", "densities"), ("bands", "band_importance")])
def test_cards_of_version_0_1_have_the_names_of_today(
    tmp_path: Path, former: str, kind: str
) -> None:
    old = {"kind": former, "schema_version": 1, "adapted": {"method": "coral"}}
    (tmp_path / "card.json").write_text(json.dumps(old))
    for asked in (kind, former):
        card = artefact.read_card(tmp_path, asked)
        assert (card.kind, card["harmonized"]) == (kind, {"method": "coral"})
        assert "adapted" not in card
    with pytest.raises(MismatchError, match=f"holds a '{kind}' artefact"):
        artefact.read_card(tmp_path, "probe")


def test_no_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="is not a folder"):
        artefact.read_card(tmp_path / "none", "probe")


def test_already_made_compares_settings_and_parents(tmp_path: Path) -> None:
    def made(settings: Settings, parent: str) -> bool:
        return artefact.already_made(
            tmp_path, "encoder", config=settings, parents={"cutouts": parent}, ignore=("out",)
        )

    assert not made(Settings(), "ab")
    artefact.write_card(tmp_path, "encoder", config=Settings(), parents={"cutouts": "ab"})
    assert made(Settings(), "ab")
    assert made(Settings(out=Path("elsewhere")), "ab")
    with pytest.raises(MismatchError, match="epochs = 3, asked for 4"):
        made(Settings(epochs=4), "ab")
    with pytest.raises(MismatchError, match="cutouts = 'ab', asked for 'cd'"):
        made(Settings(), "cd")


def test_a_parent_counts_though_the_setting_of_its_name_is_ignored(tmp_path: Path) -> None:
    def made(path: str, parent: str) -> bool:
        return artefact.already_made(
            tmp_path,
            "map",
            config={"embeddings": path},
            parents={"embeddings": parent},
            ignore=("embeddings",),
        )

    artefact.write_card(tmp_path, "map", config={"embeddings": "a"}, parents={"embeddings": "ab"})
    assert made("b", "ab")
    with pytest.raises(MismatchError, match="parent embeddings = 'ab', asked for 'cd'"):
        made("a", "cd")


def test_checksums_follow_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert artefact.sha256_of(tmp_path / "a") == expected
    artefact.write_card(tmp_path, "map")
    assert artefact.sha256_of(tmp_path) == artefact.sha256_of(tmp_path / "card.json")
    with pytest.raises(ArtefactError, match="nothing to take a checksum of"):
        artefact.sha256_of(tmp_path / "none")


@pytest.mark.parametrize("place", [0, 3 << 20])
def test_a_fingerprint_sees_both_ends(tmp_path: Path, place: int) -> None:
    content = bytearray((3 << 20) + 1)
    (tmp_path / "a").write_bytes(content)
    before = artefact.fingerprint(tmp_path / "a")
    content[place] = 1
    (tmp_path / "a").write_bytes(content)
    assert artefact.fingerprint(tmp_path / "a") != before


def test_json_files_read_back(tmp_path: Path) -> None:
    artefact.write_json(tmp_path / "a.json", {"path": Path("b"), "value": np.float64(0.5)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"path": "b", "value": 0.5}
    with pytest.raises(ArtefactError, match="is missing"):
        artefact.read_json(tmp_path / "none.json")


def test_begun_work_goes_on_with_the_same_settings_only(tmp_path: Path) -> None:
    def begin(epochs: int) -> bool:
        return artefact.begin(
            tmp_path, "encoder", config=Settings(epochs), parents={"cutouts": "ab"}, ignore=("out",)
        )

    assert begin(2)
    assert begin(3)  # nothing but the settings was written yet
    (tmp_path / "step-1.ckpt").touch()
    assert begin(3)
    with pytest.raises(MismatchError, match="epochs = 3, asked for 4"):
        begin(4)
    artefact.write_card(tmp_path, "encoder", config=Settings(3), parents={"cutouts": "ab"})
    assert not begin(3)


BEGINS = """
import sys
from pathlib import Path
from ssl_photoz.core import artefact
try:
    print(artefact.begin(Path(sys.argv[1]), "encoder", config={}, parents={}), flush=True)
except artefact.ArtefactError as error:
    print(error, flush=True)
sys.stdin.read()
"""


def begins(folder: Path) -> subprocess.Popen[str]:
    """A process that begins in the folder and stays until its input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", BEGINS, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    first = begins(tmp_path / "a")
    assert first.stdout is not None
    assert first.stdout.readline() == "True\n"
    second, elsewhere = begins(tmp_path / "a"), begins(tmp_path / "b")
    assert "another process is at work in" in second.communicate()[0]
    assert elsewhere.communicate()[0] == "True\n"
    first.kill()
    first.wait()
    after = begins(tmp_path / "a")
    assert after.communicate()[0] == "True\n"


def test_a_folder_is_free_once_its_card_is_written(tmp_path: Path) -> None:
    assert artefact.begin(tmp_path, "encoder", config={}, parents={})
    assert "another process" in begins(tmp_path).communicate()[0]
    artefact.write_card(tmp_path, "encoder", config={}, parents={})
    assert begins(tmp_path).communicate()[0] == "False\n"


def test_a_folder_can_be_kept_beyond_its_card(tmp_path: Path) -> None:
    """An index that grows writes its card, and goes on."""
    with workplace.claimed(tmp_path / "a"):
        assert artefact.begin(tmp_path / "a", "index", config={}, parents={})
        artefact.write_card(tmp_path / "a", "index", config={}, parents={})
        assert "another process" in begins(tmp_path / "a").communicate()[0]
    said = begins(tmp_path / "a").communicate()[0]
    assert "holds a 'index' artefact, expected 'encoder'" in said
    with pytest.raises(ValueError, match="mine"), workplace.claimed(tmp_path / "b"):
        raise ValueError("mine")
    assert begins(tmp_path / "b").communicate()[0] == "True\n"


def test_a_forked_worker_does_not_keep_a_folder(tmp_path: Path) -> None:
    assert artefact.begin(tmp_path, "encoder", config={}, parents={})
    handles = dict(workplace._CLAIMED)
    child = os.fork()
    if child == 0:
        os._exit(0 if not workplace._CLAIMED else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert handles == workplace._CLAIMED
    assert "another process" in begins(tmp_path).communicate()[0]


def test_a_run_that_wrote_its_rejects_alone_does_not_block_a_folder(tmp_path: Path) -> None:
    assert artefact.begin(tmp_path, "encoder", config={"crop_px": 500}, parents={})
    (tmp_path / "rejects.parquet").write_bytes(b"rows")
    assert artefact.begin(tmp_path, "encoder", config={"crop_px": 50}, parents={})
    (tmp_path / "step-1.ckpt").write_bytes(b"work")
    with pytest.raises(MismatchError, match="crop_px = 50, asked for 500"):
        artefact.begin(tmp_path, "encoder", config={"crop_px": 500}, parents={})
