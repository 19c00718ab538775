from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from ssl_photoz.similarity.catalogue import Catalogue
from ssl_photoz.similarity.index import Index
from ssl_photoz.similarity.montage import (
    Panel,
    draw_montage,
    look_alike_row,
    title_of,
    wrap,
)
from ssl_photoz.similarity.query import look_alikes


def pixels(path):
    return (imread(path)[..., :3] * 255).round().astype(int)


def share_of(image, colour):
    return np.mean(np.abs(image - np.array(colour)).max(axis=-1) < 20)


def test_pictures_keep_their_colours_and_the_query_its_frame(tmp_path):
    red, blue = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    panels = [Panel(red, "a", framed=True), Panel(blue, "b"), Panel(None, "c")]
    draw_montage(tmp_path / "m.png", [panels], title="t")
    image = pixels(tmp_path / "m.png")
    share = {
        name: share_of(image, c) for name, c in {"red": (200, 0, 0), "blue": (0, 0, 200)}.items()
    }
    assert min(share.values()) > 0.1
    assert share["red"] == pytest.approx(share["blue"], rel=0.1)
    assert 0.002 < share_of(image, (0xD9, 0x48, 0x0F)) < 0.1
    draw_montage(tmp_path / "n.png", [[p._replace(framed=False) for p in panels]], title="t")
    assert share_of(pixels(tmp_path / "n.png"), (0xD9, 0x48, 0x0F)) < 0.0005


def test_the_query_comes_first_and_captions_tell(make_store):
    store = make_store(pictures=True, labelled=0.5)
    catalogue = Catalogue.read(store)
    row = int(np.flatnonzero(np.isfinite(catalogue.z))[0])
    found = look_alikes(Index.build(store), catalogue, store.vectors()[row], k=9, row=row)
    panels = look_alike_row(store, found)
    assert [panel.framed for panel in panels] == [True] + [False] * 9
    assert f"z = {catalogue.z[row]:.3f}" in panels[0].caption
    for panel, one, distance in zip(panels[1:], found.rows, found.distances, strict=True):
        assert f"d = {distance:.3f}" in panel.caption
        known = np.isfinite(catalogue.z[one])
        assert (f"z = {catalogue.z[one]:.3f}" if known else "no redshift") in panel.caption
        np.testing.assert_array_equal(panel.picture, store.thumbnails([one])[0])


def test_a_predicted_redshift_is_captioned_as_such_where_none_is_measured(make_store):
    store = make_store(labelled=0.5)
    measured = Catalogue.read(store)
    row = int(np.flatnonzero(np.isfinite(measured.z))[0])
    catalogue = replace(measured, photoz={"z_phot": np.linspace(0.2, 0.3, len(measured))})
    found = look_alikes(Index.build(store), catalogue, store.vectors()[row], k=9, row=row)
    captions = [panel.caption for panel in look_alike_row(store, found)][1:]
    known = np.isfinite(measured.z[found.rows])
    assert 0 < known.sum() < len(known)
    for caption, one, measured_there in zip(captions, found.rows, known, strict=True):
        z, predicted = measured.z[one], catalogue.photoz["z_phot"][one]
        expected = f"z = {z:.3f}" if measured_there else f"z_phot = {predicted:.3f}"
        assert caption.startswith(f"{expected}\n")


def test_a_store_without_pictures_still_has_a_montage(make_store, tmp_path):
    store = make_store()
    catalogue = Catalogue.read(store)
    found = look_alikes(Index.build(store), catalogue, store.vectors()[0], k=4, row=0)
    panels = look_alike_row(store, found)
    draw_montage(tmp_path / "m.png", wrap(panels, columns=3), title="t")
    assert share_of(pixels(tmp_path / "m.png"), (225, 225, 225)) > 0.2


def test_simulated_galaxies_are_called_so():
    assert title_of("a", simulated=True).startswith("SIMULATED")
    assert title_of("a", simulated=False) == "a"
    assert [len(row) for row in wrap([Panel(None, "")] * 8, columns=3)] == [3, 3, 2]
