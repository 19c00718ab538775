"""A mask lists, never deletes; whoever takes one counts what it rejects, or refuses it."""

import json
import shutil

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from ssl_photoz.recipes.survey.inspect import inspect

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.core.errors import ArtefactError, MismatchError
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.mask import MaskCard, cutout_parents, masked_rows
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.subset import subset
from ssl_photoz.training.row_selection import RowSelection


@pytest.fixture(scope="module")
def mask(planted_survey, tmp_path_factory):
    out = tmp_path_factory.mktemp("clean") / "mask"
    assert inspect(planted_survey, mask=str(out), page=False) == out
    return out


def test_every_row_is_there_with_its_flags(mask, planted_survey, planted_rows):
    table = pq.read_table(mask / "mask.parquet").to_pydict()
    with h5py.File(planted_survey) as file:
        assert table["id"] == file["TARGETID"][:].tolist()
    assert table["row"] == list(range(240))
    for name in ("blank", "saturated", "star", "absurd_label"):
        assert set(planted_rows[name]) <= set(np.flatnonzero(table[name]))
    rejected = {row: reason for row, reason in enumerate(table["reason"]) if reason}
    assert [not keep for keep in table["keep"]] == [row in rejected for row in range(240)]
    assert rejected[30] == "blank"
    assert rejected[62] == "absurd_label"
    assert 65 not in rejected  # a redshift of -0.002 only makes it unlabelled
    assert 97 not in rejected  # overlapping


def test_the_card_says_what_of_and_how_many(mask, planted_survey, capsys):
    card = artefact.read_card(mask, "mask")
    assert card["parents"] == {"cutouts": artefact.fingerprint(planted_survey)}
    assert card["simulated"]
    assert card["rows_checked"] == 240
    assert card["rejected"]["absurd_label"] == 3
    assert card["flagged"]["not_positive"] == 3
    assert card["rows_rejected"] == len(masked_rows(mask))
    assert "shred_entry" in card["flagged"]
    assert MaskCard(card).rejected["absurd_label"] == 3
    before = (mask / "mask.parquet").read_bytes()
    arguments = ["inspect", f"data={planted_survey}", f"mask={mask}", "page=false"]
    assert cli.main(arguments) == 0
    assert "already made" in capsys.readouterr().out
    assert (mask / "mask.parquet").read_bytes() == before


def test_clean_is_now_inspect_and_writes_the_same_mask(
    mask, planted_survey, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["clean", f"data={planted_survey}", "out=old", "checks.star_z=0.001"]) == 0
    assert "clean is now inspect page=false mask=mask" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "mask.parquet").read_bytes() == (mask / "mask.parquet").read_bytes()
    assert cli.main(["inspect", f"data={planted_survey}", "page=false"]) == 2
    assert "nothing to do" in capsys.readouterr().err


def test_a_mask_is_of_a_whole_file(mask, planted_survey, tmp_path):
    some = subset(Cutouts.open(planted_survey), np.arange(20))
    with pytest.raises(MismatchError, match="counts the rows of the whole file"):
        inspect(some, mask=tmp_path / "mask", page=False)
    with pytest.raises(MismatchError, match="counts the rows of the whole file"):
        cutout_parents(some, mask)


def test_only_what_is_asked_for_rejects(planted_survey, tmp_path, capsys):
    out = tmp_path / "mask"
    given = [f"data={planted_survey}", f"mask={out}", "page=false", "reject=[overlapping]"]
    assert cli.main(["inspect", *given]) == 0
    assert "240 cutouts checked, 236 kept" in capsys.readouterr().out
    assert set(masked_rows(out)) == {97, 98, 101, 102}
    assert cli.main(["inspect", *given[:3], "reject=[overlaping]"]) == 2
    assert "no check 'overlaping'" in capsys.readouterr().err


def test_good_rows_are_without_the_masked(mask, planted_survey):
    cutouts, masked = Cutouts.open(planted_survey), masked_rows(mask)
    rows, reasons = good_rows(cutouts, masked=masked)
    assert set(rows) == set(range(240)) - set(masked)
    assert reasons[30] == "masked: blank"
    assert good_rows(cutouts)[1] == {}


def test_a_training_run_lists_what_is_masked(mask, planted_survey, tmp_path):
    cutouts, masked = Cutouts.open(planted_survey), masked_rows(mask)
    account = RowSelection(cutouts, tmp_path, mask)
    assert not set(account.rows) & set(masked)
    assert account.counts["rows_rejected"] == len(masked)
    listed = pq.read_table(tmp_path / "rejects.parquet").to_pydict()
    assert dict(zip(listed["row"], listed["reason"], strict=True)) == masked


def test_a_mask_of_other_data_is_refused(mask, clean_survey, planted_survey, tmp_path, capsys):
    other = tmp_path / "other.h5"
    shutil.copy(clean_survey, other)
    with h5py.File(other, "r+") as file:
        file["MORE"] = np.zeros(240)
    with pytest.raises(MismatchError, match=r"was made for other data .* run: ssl-photoz inspect"):
        cutout_parents(other, mask)
    for verb in ("pretrain", "supervise", "convert"):
        out = tmp_path / f"{verb}.h5"
        assert cli.main([verb, f"data={other}", f"mask={mask}", f"out={out}"]) == 2
        assert "made for other data" in capsys.readouterr().err
        assert not out.exists()
    parents = cutout_parents(planted_survey, mask)
    assert parents["cutouts"] == cutout_parents(planted_survey, None)["cutouts"]
    assert parents["mask"] == artefact.sha256_of(mask / "mask.parquet")


def test_a_damaged_mask_is_an_error(mask, tmp_path):
    copy = tmp_path / "mask"
    copy.mkdir()
    (copy / "mask.parquet").write_bytes((mask / "mask.parquet").read_bytes()[:200])
    with pytest.raises(ArtefactError, match="make the mask again"):
        masked_rows(copy)
    with pytest.raises(ArtefactError, match=r"no card\.json"):
        cutout_parents(tmp_path / "x.h5", copy) if (tmp_path / "x.h5").write_text("x") else None


def test_convert_leaves_the_masked_out_and_lists_them(mask, planted_survey, tmp_path, capsys):
    out = tmp_path / "packed.h5"
    given = ["convert", f"data={planted_survey}", f"out={out}", "dtype=float16"]
    assert cli.main([*given, f"mask={mask}"]) == 0
    masked = masked_rows(mask)
    assert f"{len(masked)} cutouts masked" in capsys.readouterr().out
    packed, whole = Cutouts.open(out), Cutouts.open(planted_survey)
    kept = packed.column("source_row")
    assert kept.tolist() == [row for row in range(240) if row not in masked]
    for name in ("id", "ra", "z", "psfsize"):
        np.testing.assert_array_equal(packed.column(name), whole.column(name)[kept])
    np.testing.assert_array_equal(
        packed.read([5]), whole.read(kept[[5]]).astype(packed.source.dtype)
    )
    listed = pq.read_table(tmp_path / "packed.h5.rejects.parquet").to_pydict()
    assert dict(zip(listed["row"], listed["reason"], strict=True)) == masked
    assert cli.main(given) == 2
    assert "packed_mask" in capsys.readouterr().err


def test_embed_rejects_the_masked(mask, planted_survey, tmp_path):
    encoder, out = tmp_path / "encoder", tmp_path / "embeddings"
    small = ["encoder.crop_px=48", "epochs=0"]
    data, given = f"data={planted_survey}", f"mask={mask}"
    assert cli.main(["pretrain", data, given, f"out={encoder}", *small]) == 0
    readout = ["readout.orientations=1", "readout.stages=last"]
    assert cli.main(["embed", data, given, f"encoder={encoder}", f"out={out}", *readout]) == 0
    masked = masked_rows(mask)
    card = json.loads((out / "card.json").read_text())
    assert card["rows_rejected"] == len(masked)
    listed = pq.read_table(out / "rejects.parquet").to_pydict()
    assert dict(zip(listed["row"], listed["reason"], strict=True)) == masked
    assert cli.main(["embed", data, f"encoder={encoder}", f"out={out}", *readout]) == 2
