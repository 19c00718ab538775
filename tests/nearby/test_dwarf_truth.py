import numpy as np
import pytest

from ssl_photoz.core.errors import ArtefactError, ConfigError
from ssl_photoz.nearby.settings import DwarfConfig
from ssl_photoz.nearby.truth import learn_verdicts, read_truth, words_of
from ssl_photoz.nearby.verdicts import Verdict
from ssl_photoz.similarity.catalogue import Catalogue

NAN = np.nan


@pytest.fixture
def store(make_store):
    def change(columns, vectors):
        columns["z"][:6] = [0.02, 0.04, 0.2, NAN, 0.02, -0.001]
        columns["is_dwarf"] = np.zeros(300, bool)
        columns["is_dwarf"][[0, 2, 3]] = True
        columns["stellar_mass"] = np.full(300, 9.0)
        columns["stellar_mass"][:6] = [8.0, 8.0, 8.0, 8.0, NAN, 8.0]
        columns["abs_mag_r"] = np.full(300, -20.0)
        columns["abs_mag_r"][:2] = [-16.0, -21.0]

    return make_store(change=change)


def test_redshifts_answer(store):
    truth = read_truth(store, DwarfConfig(z_max=0.05, also=(0.03, 0.05)))
    assert truth.names == ("z0p05", "z0p03")
    expected = [[1, 1], [1, 0], [0, 0], [NAN, NAN], [1, 1], [NAN, NAN]]
    np.testing.assert_array_equal(truth.labels[:6], expected)
    np.testing.assert_array_equal(np.isnan(truth.labels[:, 0]), ~(store.column("z") > 0))


def test_a_dwarf_is_nearby_and_all_that_was_asked(store):
    flagged = read_truth(store, DwarfConfig(z_max=0.05, flag="is_dwarf", also=()))
    assert flagged.names == ("dwarf", "z0p05")
    np.testing.assert_array_equal(flagged.labels[:6, 0], [1, 0, 0, NAN, 0, NAN])
    light = read_truth(store, DwarfConfig(z_max=0.05, stellar_mass_max=8.5, also=()))
    np.testing.assert_array_equal(light.labels[:6, 0], [1, 1, 0, NAN, NAN, NAN])
    faint = read_truth(store, DwarfConfig(z_max=0.05, abs_mag_min=-18.0, also=()))
    np.testing.assert_array_equal(faint.labels[:3, 0], [1, 0, 0])
    both = read_truth(
        store, DwarfConfig(z_max=0.05, stellar_mass_max=8.5, flag="is_dwarf", also=())
    )
    np.testing.assert_array_equal(both.labels[:6, 0], [1, 0, 0, NAN, 0, NAN])
    assert both.says[0] == "z < 0.05, is_dwarf, stellar mass < 8.5"
    with pytest.raises(ArtefactError, match="no column 'is_faint'"):
        read_truth(store, DwarfConfig(z_max=0.05, flag="is_faint", also=()))
    with pytest.raises(ConfigError, match="expected redshifts above 0"):
        read_truth(store, DwarfConfig(z_max=0.05, also=(0.0,)))


def say(store, **words):
    ids = store.column("id")
    return [Verdict(str(ids[int(row[1:])]), "", "", word, "") for row, word in words.items()]


def test_verdicts_answer_in_the_train_split_alone(make_store):
    def change(columns, vectors):
        columns["z"][:6] = [NAN, NAN, NAN, 0.5, 0.02, NAN]
        columns["split"][:6] = ["train", "train", "test", "train", "train", "val"]

    store = make_store(change=change)
    catalogue, before = (
        Catalogue.read(store),
        read_truth(store, DwarfConfig(z_max=0.05, also=(0.03,))),
    )
    said = say(store, r0="dwarf", r1="not_dwarf", r2="dwarf", r3="dwarf", r4="junk", r5="junk")
    said.append(Verdict("no such id", "", "", "dwarf", ""))
    after, counts = learn_verdicts(before, catalogue, said)
    np.testing.assert_array_equal(after.labels[:6, 0], [1, 0, NAN, 0, NAN, NAN])
    np.testing.assert_array_equal(np.isnan(after.labels[:5, 1]), [True, True, True, False, True])
    np.testing.assert_array_equal(after.labels[6:], before.labels[6:])
    lost = {"not_found": 1, "ambiguous": 0}
    assert counts == {"dwarf": 1, "not_dwarf": 1, "junk": 1, "not_used": 3, **lost}
    expected = ["dwarf", "not_dwarf", "dwarf", "dwarf", "junk", "junk", ""]
    assert words_of(catalogue, said).words[:7].tolist() == expected
    untouched, counts = learn_verdicts(before, catalogue, [])
    np.testing.assert_array_equal(untouched.labels, before.labels)
    assert set(counts.values()) == {0}


def test_a_verdict_is_on_the_galaxy_at_its_place(make_store):
    """Ten train galaxies have the id 0; one of them was looked at."""

    def change(columns, vectors):
        columns["id"][:10] = 0
        columns["z"][:10], columns["split"][:10] = NAN, "train"

    store = make_store(change=change)
    catalogue, before = Catalogue.read(store), read_truth(store, DwarfConfig(z_max=0.05))
    place = f"{catalogue.ra[3]:.7f}", f"{catalogue.dec[3]:.7f}"
    after, counts = learn_verdicts(before, catalogue, [Verdict("0", *place, "dwarf", "")])
    assert counts["dwarf"] == 1
    assert np.flatnonzero(after.labels[:10, 0] == 1).tolist() == [3]
    after, counts = learn_verdicts(before, catalogue, [Verdict("0", "", "", "dwarf", "")])
    assert (counts["dwarf"], counts["ambiguous"]) == (0, 1)
    elsewhere = str((catalogue.ra[3] + 180) % 360), "0"
    after, counts = learn_verdicts(before, catalogue, [Verdict("0", *elsewhere, "dwarf", "")])
    assert (counts["dwarf"], counts["not_found"]) == (0, 1)
