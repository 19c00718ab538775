"""Parquet with cutouts in it: written by pyarrow, catalogues by hats."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ssl_photoz.core.errors import DataError
from ssl_photoz.cutouts.batches import good_rows
from ssl_photoz.cutouts.formats import row_groups
from ssl_photoz.cutouts.reader import Cutouts

N, SIDE = 9, 8


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(N, 3, SIDE, SIDE)).astype("f4")


def nested(images):
    return {"band": ["des-g", "des-r", "des-z"], "flux": images.tolist()}


def write(path, image, **columns):
    rows = len(image)
    usual = {"object_id": [f"o{row}" for row in range(rows)], "ra": np.zeros(rows)}
    usual |= {"dec": np.zeros(rows), "image": image}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**usual, **columns}), path, row_group_size=4)
    return path


def test_a_struct_of_lists_and_a_list_of_structs_are_the_same(tmp_path, images):
    bands = ["g", "r", "z"]
    structs = [
        [{"band": b, "flux": f.tolist(), "psf_fwhm": 1.5} for b, f in zip(bands, one, strict=True)]
        for one in images
    ]
    for image in ([nested(one) for one in images], structs):
        cutouts = Cutouts.open(write(tmp_path / "a.parquet", image))
        assert cutouts.source.bands == ("g", "r", "z")
        assert cutouts.source.dtype == "float64"
        np.testing.assert_array_equal(cutouts.read([8, 0, 5]), images[[8, 0, 5]])
    np.testing.assert_array_equal(cutouts.column("psfsize"), np.full((N, 3), 1.5))


def test_our_own_copies_are_read_back_with_what_they_state(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (N, 3, SIDE, SIDE), np.uint8)
    flux = pa.array(pixels.ravel())
    for length in (SIDE, SIDE, 3):
        flux = pa.FixedSizeListArray.from_arrays(flux, length)
    noise = np.random.default_rng(2).uniform(size=(N, 3)).astype("f4")
    table = pa.table(
        {
            "object_id": np.arange(N) + 2**60,
            "ra": np.arange(N) * 1.0,
            "dec": np.zeros(N),
            "image": pa.StructArray.from_arrays([flux], ["flux"]),
            "noise": pa.FixedSizeListArray.from_arrays(noise.ravel(), 3),
            "z_spec": np.full(N, np.nan, "f4"),
        }
    )
    stated = {"bands": ["i", "r", "g"], "pixscale_arcsec": 0.4, "simulated": True}
    stated["calibrated"] = False
    table = table.replace_schema_metadata({"ssl_photoz": json.dumps(stated)})
    pq.write_table(table, tmp_path / "part-00000.parquet")
    (tmp_path / "card.json").write_text("{}")
    cutouts = Cutouts.open(tmp_path)
    source = cutouts.source
    assert (source.bands, source.pixscale_arcsec) == (("i", "r", "g"), 0.4)
    assert (source.calibrated, source.simulated, source.dtype) == (False, True, "uint8")
    np.testing.assert_array_equal(cutouts.read(np.arange(N)), pixels)
    np.testing.assert_array_equal(cutouts.column("noise"), noise)
    assert cutouts.column("id").tolist() == list(range(2**60, 2**60 + N))


def test_rows_without_a_whole_image_are_rejects(tmp_path, images):
    image = [nested(one) for one in images]
    image[2] = None
    image[5] = nested(images[5][:, :4])
    image[6] = {"band": [], "flux": []}
    cutouts = Cutouts.open(write(tmp_path / "a.parquet", image))
    rows, rejects = good_rows(cutouts)
    assert rows.tolist() == [0, 1, 3, 4, 7, 8]
    assert sorted(rejects) == [2, 5, 6]
    assert all(reason.startswith("no cutout") for reason in rejects.values())
    np.testing.assert_array_equal(cutouts.read(rows), images[rows])


def test_reading_on_decodes_each_row_once(tmp_path, images, monkeypatch):
    cutouts = Cutouts.open(write(tmp_path / "a.parquet", [nested(one) for one in images]))
    monkeypatch.setattr(row_groups, "BATCH_BYTES", 2 * 3 * SIDE * SIDE * 4)  # two rows
    opened = []
    iterate = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda *given, **named: opened.append(named["row_groups"]) or iterate(*given, **named),
    )
    for row in range(N):
        np.testing.assert_array_equal(cutouts.read([row]), images[[row]])
    assert opened == [[0], [1], [2]]
    np.testing.assert_array_equal(cutouts.read([1, 0]), images[[1, 0]])
    assert opened[3:] == [[0]]


def test_columns_keep_their_types_and_say_where_there_is_nothing(tmp_path, images):
    path = write(
        tmp_path / "a.parquet",
        [nested(one) for one in images],
        brick=pa.array([1, None, *[2**62 + 1] * 7], pa.int64()),
        kind=pa.array(["REX", None, *["EXP"] * 7]),
        z_spec=pa.array([0.1, -99.0, None, *[0.3] * 6]),
        z=np.full(N, 17.0),
        shapes=[[1.0, 2.0]] * N,
    )
    cutouts = Cutouts.open(path)
    assert cutouts.column("brick").tolist() == [1, -1, *[2**62 + 1] * 7]
    assert cutouts.column("kind").tolist()[:3] == ["REX", "", "EXP"]
    np.testing.assert_array_equal(np.isnan(cutouts.column("z")), [False, True, True, *[False] * 6])
    assert cutouts.column("catalogue_z").tolist() == [17.0] * N
    assert cutouts.stored.left_out == ("shapes",)


def test_a_catalogue_as_hats_makes_it_is_read_without_its_margin(tmp_path, images):
    hats = pytest.importorskip("hats", reason="hats is not installed")
    from hats.catalog import CatalogType, PartitionInfo, TableProperties
    from hats.io import paths
    from hats.io.parquet_metadata import write_parquet_metadata

    image = [nested(one) for one in images]
    tiles = {hats.HealpixPixel(1, 5): slice(0, 4), hats.HealpixPixel(2, 30): slice(4, N)}
    for name, kind in (("survey", CatalogType.OBJECT), ("survey_10arcs", CatalogType.MARGIN)):
        root = tmp_path / name
        for tile, rows in tiles.items():
            write(paths.pixel_catalog_file(root, tile), image[rows], _healpix_29=np.arange(N)[rows])
        write_parquet_metadata(root)
        PartitionInfo.from_healpix(list(tiles)).write_to_file(root / "partition_info.csv")
        more = {} if name == "survey" else {"primary_catalog": "survey", "margin_threshold": 10.0}
        TableProperties(
            catalog_name=name,
            catalog_type=kind,
            total_rows=N,
            ra_column="ra",
            dec_column="dec",
            **more,
        ).to_properties_file(root)
    (tmp_path / "collection.properties").write_text(
        "obs_collection=both\nhats_primary_table_url=survey\nall_margins=survey_10arcs\n"
    )
    assert len(hats.read_hats(tmp_path / "survey").get_healpix_pixels()) == 2
    for path in (tmp_path, tmp_path / "survey"):
        cutouts = Cutouts.open(path)
        assert cutouts.source.recognised == "HATS catalogue of 2 tiles with `image`"
        np.testing.assert_array_equal(cutouts.read(np.arange(N)), images)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a/b"])
def test_a_collection_leads_nowhere_else(tmp_path, images, name):
    write(tmp_path / "elsewhere" / "a.parquet", [nested(one) for one in images])
    folder = tmp_path / "collection"
    folder.mkdir()
    (folder / "collection.properties").write_text(f"hats_primary_table_url={name}\n")
    with pytest.raises(DataError, match="holds no Parquet"):
        Cutouts.open(folder, read_as="parquet")


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.97, 0.999])
def test_a_truncated_file_is_refused(tmp_path, images, keep):
    path = write(tmp_path / "a.parquet", [nested(one) for one in images])
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(DataError):
        Cutouts.open(path, read_as="parquet").read(np.arange(N))


def test_a_table_without_pixels_is_no_cutouts(tmp_path):
    pq.write_table(pa.table({"id": [1], "image": ["a.png"]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no format recognises"):
        Cutouts.open(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="no column `image` of pixels among id, image"):
        Cutouts.open(tmp_path / "a.parquet", read_as="parquet")


def test_a_scale_that_is_stated_to_be_unknown_is_not_guessed(tmp_path, images):
    path = write(tmp_path / "a.parquet", [nested(one) for one in images])
    assert Cutouts.open(path).source.pixscale_arcsec == 0.262
    stated = json.dumps({"pixscale_arcsec": None, "calibrated": True})
    table = pq.read_table(path).replace_schema_metadata({"ssl_photoz": stated})
    pq.write_table(table, path)
    assert np.isnan(Cutouts.open(path).source.pixscale_arcsec)
    assert Cutouts.open(path, pixscale_arcsec=0.3).source.pixscale_arcsec == 0.3


def tiles(folder, images, *columns, **more):
    """Write one file for each mapping of columns; None takes a column away."""
    for place, own in enumerate(columns):
        kept = {**more, **own}
        path = write(folder / f"part-{place}.parquet", [nested(one) for one in images], **{
            name: values for name, values in kept.items() if values is not None
        })  # fmt: skip
        if gone := [name for name, values in kept.items() if values is None]:
            table = pq.read_table(path)
            pq.write_table(table.drop([one for one in gone if one in table.column_names]), path)
    return folder


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_tile_without_redshifts_does_not_decide_for_the_others(tmp_path, images, order):
    z = np.linspace(0.01, 0.3, N).astype("f4")
    kinds = (
        {"z_spec": pa.nulls(N), "kind": pa.nulls(N), "object_id": pa.array(range(N))},
        {"z_spec": pa.array(z), "kind": pa.array(["E"] * N), "object_id": np.arange(N) + 2**60},
        {"z_spec": None, "kind": None, "object_id": np.arange(N) + 2**61},
    )
    cutouts = Cutouts.open(tiles(tmp_path, images, *(kinds[one] for one in order)))
    start = N * order.index(1)
    known = np.isfinite(cutouts.z)
    assert np.flatnonzero(known).tolist() == list(range(start, start + N))
    np.testing.assert_array_equal(cutouts.z[known], z)
    assert cutouts.column("kind").tolist()[start : start + N] == ["E"] * N
    assert cutouts.column("kind").tolist().count("") == 2 * N
    assert cutouts.id[start : start + N].tolist() == [2**60 + row for row in range(N)]
    assert "z_spec is not in 1 of 3 files: unknown there" in cutouts.source.notes


def test_a_first_file_without_rows_says_nothing(tmp_path, images):
    folder = tiles(tmp_path, images, {"z_spec": pa.nulls(N)}, {"z_spec": np.full(N, 0.25)})
    first = folder / "part-0.parquet"
    pq.write_table(pq.read_table(first).slice(0, 0), first)
    assert Cutouts.open(folder).z.tolist() == [0.25] * N


def test_columns_are_read_however_arrow_stores_them(tmp_path, images):
    ids = [2**61 + 1 + row for row in range(N)]
    words = [f"galaxy {row}" for row in range(N)]
    path = write(
        tmp_path / "a.parquet",
        [nested(one) for one in images],
        object_id=pa.array(ids).cast(pa.decimal128(20, 0)),
        z_spec=pa.array([0.25] * N).cast(pa.decimal128(8, 4)),
        ra=pa.array([10, None, *range(7)], pa.int32()),
        kind=pa.array(words).dictionary_encode(),
        view=pa.array(words, pa.string_view()),
        raw=pa.array([word.encode() for word in words], pa.binary()),
    )
    cutouts = Cutouts.open(path)
    assert cutouts.id.tolist() == ids
    assert cutouts.z.tolist() == [0.25] * N
    np.testing.assert_array_equal(cutouts.ra, [10, np.nan, *range(7)])
    assert [cutouts.column(name).tolist() for name in ("kind", "view", "raw")] == [words] * 3


def test_one_text_among_redshifts_makes_that_one_unknown_and_is_said(tmp_path, images):
    path = write(
        tmp_path / "a.parquet",
        [nested(one) for one in images],
        z_spec=pa.array(["0.25", "--", "", None, *["5e-1"] * 5]),
    )
    cutouts = Cutouts.open(path)
    np.testing.assert_array_equal(cutouts.z, [0.25, np.nan, np.nan, np.nan, *[0.5] * 5])
    said = "z_spec has 1 texts that are no numbers, such as '--': unknown"
    assert said in cutouts.source.notes


def test_ids_in_floats_are_exact_or_another_id_is_taken(tmp_path, images):
    rounded = (2**60 + np.arange(N)).astype("f8")
    rows = [nested(one) for one in images]
    path = write(tmp_path / "a.parquet", rows, object_id=rounded, specobjid=np.arange(N) + 2**60)
    cutouts = Cutouts.open(path)
    assert cutouts.id.tolist() == [2**60 + row for row in range(N)]
    assert any("object_id (float64: 9 of 9 ids" in note for note in cutouts.source.notes)
    exact = write(tmp_path / "b.parquet", rows, object_id=np.arange(N) + 2.0**50)
    assert Cutouts.open(exact).id.tolist() == [2**50 + row for row in range(N)]
