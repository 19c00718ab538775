import hashlib

import pytest

from ssl_photoz.core import artefact, inputs
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.core.inputs import fingerprint, listing, part_paths


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "deep").mkdir(parents=True)
    for name, content in {"a.h5": b"one", "b.h5": b"two", "deep/c.h5": b"three"}.items():
        (tmp_path / "data" / name).write_bytes(content)
    return tmp_path / "data"


def test_a_file_is_known_by_its_size_and_ends(tmp_path):
    content = bytes(range(256)) * (3 << 12)  # 3 MiB
    (tmp_path / "big").write_bytes(content)
    ends = str(len(content)).encode() + content[: 1 << 20] + content[-(1 << 20) :]
    assert fingerprint(tmp_path / "big") == hashlib.sha256(ends).hexdigest()
    assert artefact.fingerprint is fingerprint


def test_a_folder_changes_with_names_sizes_and_contents(folder):
    known = {fingerprint(folder)}
    (folder / "a.h5").write_bytes(b"eno")  # as long as before
    known.add(fingerprint(folder))
    (folder / "a.h5").rename(folder / "z.h5")
    known.add(fingerprint(folder))
    (folder / "deep" / "d.h5").touch()
    known.add(fingerprint(folder))
    assert len(known) == 4


def test_a_folder_that_is_copied_or_half_written_to_is_the_same(folder, tmp_path):
    before = fingerprint(folder)
    (folder / ".new.partial").write_bytes(b"not finished")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x").touch()
    assert fingerprint(folder) == before
    folder.rename(tmp_path / "elsewhere")
    assert fingerprint(tmp_path / "elsewhere") == before


def test_large_folders_are_looked_into_here_and_there(tmp_path, monkeypatch):
    for number in range(1000):
        (tmp_path / f"{number:04d}").write_text(str(number))
    looked = []
    real = inputs._of_file
    monkeypatch.setattr(inputs, "_of_file", lambda path: looked.append(path) or real(path))
    fingerprint(tmp_path)
    assert 64 <= len(looked) <= 2 * 64


def test_a_listing_is_sorted_and_relative(folder):
    assert listing(folder) == [("a.h5", 3), ("b.h5", 3), ("deep/c.h5", 5)]


def test_a_yaml_changes_with_its_text_and_with_what_it_names(folder, tmp_path):
    yaml = tmp_path / "all.yaml"
    yaml.write_text("parts: [data/a.h5, {path: 'data/deep/*.h5'}]")
    known = {fingerprint(yaml)}
    (folder / "deep" / "c.h5").write_bytes(b"other")
    known.add(fingerprint(yaml))
    yaml.write_text("parts: [data/a.h5, {path: 'data/deep/*.h5'}]\nbands: [g]")
    known.add(fingerprint(yaml))
    (folder / "b.h5").write_bytes(b"not named")
    known.add(fingerprint(yaml))
    assert len(known) == 3


def test_parts_are_relative_to_the_yaml_and_patterns_are_sorted(folder, tmp_path):
    yaml = tmp_path / "all.yaml"
    yaml.write_text(f"parts: ['data/?.h5', {{path: data/deep}}, '{folder}/b.h5', '{folder}/*.h5']")
    both = [folder / "a.h5", folder / "b.h5"]
    assert part_paths(yaml) == [both, [folder / "deep"], [folder / "b.h5"], both]


@pytest.mark.parametrize(
    "text", ["", "parts: []", "parts: a.h5", "parts: [{pth: a}]", "parts: [3]"]
)
def test_a_yaml_without_parts_is_refused(tmp_path, text):
    (tmp_path / "all.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"all\.yaml"):
        part_paths(tmp_path / "all.yaml")


def test_what_is_not_there_is_refused(tmp_path):
    (tmp_path / "all.yaml").write_text("parts: ['*.h5']")
    with pytest.raises(DataError, match=r"names \*\.h5, which is not there"):
        fingerprint(tmp_path / "all.yaml")
    with pytest.raises(DataError, match="is not there"):
        fingerprint(tmp_path / "absent.h5")
