"""Listing of folders, and what is kept of it between processes."""

import os

import numpy as np
import pytest

from ssl_photoz.cutouts.formats.listing import KEPT_FROM, kept, list_files, some_files


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a/c.PNG", "a.png", "_x.png", ".y.png", "d.txt", ".hidden/e.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"12")
    return tmp_path / "data"


def test_files_are_listed_in_order_without_hidden_ones(folder):
    assert list_files(folder, (".png",)).names == ["a.png", "a/c.PNG", "b.png"]
    assert some_files(folder, (".txt",)) == [folder / "d.txt"]
    assert set(some_files(folder, (".png",))) == {folder / n for n in ("a.png", "b.png", "a/c.PNG")}
    assert len(some_files(folder, (".png",), most=2)) == 2
    assert some_files(folder, (".fits",)) == []


def test_links_to_files_count_and_links_to_folders_do_not(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "z.png").write_bytes(b"1")
    (folder / "linked").symlink_to(tmp_path / "other")
    (folder / "f.png").symlink_to(tmp_path / "other" / "z.png")
    (folder / "g.png").symlink_to("/dev/zero")
    (folder / "h.png").symlink_to(folder / "h.png")
    assert list_files(folder, (".png",)).names == ["a.png", "a/c.PNG", "b.png", "f.png"]


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "n.png").write_bytes(b""),
        lambda folder: (folder / "b.png").unlink(),
        lambda folder: (folder / "b.png").write_bytes(b"123"),
        lambda folder: os.utime(folder / "b.png", (0, 0)),
        lambda folder: (folder / "b.png").rename(folder / "c.png"),
    ],
)
def test_any_change_changes_the_identity(folder, change):
    before = list_files(folder, (".png",)).identity
    assert list_files(folder, (".png",)).identity == before
    change(folder)
    assert list_files(folder, (".png",)).identity != before


def test_what_takes_long_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = []

    def make():
        made.append(1)
        return {"names": np.array(["ä", "b"]), "places": np.arange(2)}

    for _ in range(2):
        found = kept("one", make, files=KEPT_FROM)
        assert found["names"].tolist() == ["ä", "b"]
    assert len(made) == 1
    for _ in range(2):
        kept("two", make, files=KEPT_FROM - 1)
    assert len(made) == 3
    (next((tmp_path / "cache").rglob("*.npz"))).write_bytes(b"damaged")
    kept("one", make, files=KEPT_FROM)
    assert len(made) == 4


def test_nothing_that_was_pickled_is_taken_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "ssl_photoz").mkdir()
    np.savez(tmp_path / "ssl_photoz" / "one.npz", bad=np.array([{}], object))
    assert kept("one", lambda: {"good": np.arange(1)}, files=KEPT_FROM).keys() == {"good"}


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept("one", lambda: {"good": np.arange(1)}, files=KEPT_FROM)["good"].tolist() == [0]
