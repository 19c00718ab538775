import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from ssl_photoz.recipes.survey.simulate import simulate

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError, DataError, MismatchError
from ssl_photoz.simulator.settings import SimulatorConfig
from ssl_photoz.simulator.survey import Simulator, write_survey

CONFIG = SimulatorConfig(seed=7, size_px=32, proportions=(2.0, 1.0, 1.0), labelled_fraction=0.5)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    out = tmp_path_factory.mktemp("survey") / "s.h5"
    assert write_survey(out, CONFIG, galaxies=300, workers=1)
    return out


def contents(path):
    with h5py.File(path) as file:
        return {name: data[:] for name, data in file.items()}


def test_layout_is_the_challenge_layout(survey):
    with h5py.File(survey) as file:
        assert file["images"].shape == (300, 3, 32, 32)
        assert file["images"].dtype == np.float32
        assert file["images"].chunks == (1, 3, 32, 32)
        dtypes = {name: file[name].dtype.name for name in ("TARGETID", "RA", "DEC", "Z", "EBV")}
        assert dtypes == {
            "TARGETID": "int64",
            "RA": "float64",
            "DEC": "float64",
            "Z": "float32",
            "EBV": "float32",
        }
        assert file["PSFSIZE"].shape == file["NOISE"].shape == (300, 3)
        assert file.attrs["bands"] == "g,r,z"
        assert file.attrs["pixscale_arcsec"] == 0.262
        assert file.attrs["calibrated"]
        assert file.attrs["simulated"]
        assert dict(file["POPULATION"].attrs) == {"dwarf": 0, "low_z": 1, "background": 2}
        assert all(len(data) == 300 for data in file.values())
    card = json.loads((survey.parent / "s.h5.card.json").read_text())
    assert card["simulated"] is True
    assert card["rows"] == 300


def test_columns_are_sane(survey):
    data = contents(survey)
    assert np.isfinite(data["images"]).all()
    assert len(np.unique(data["TARGETID"])) == 300
    assert data["TRUE_MAG_R"].max() < 21.2
    assert np.array_equal(data["IS_DWARF"] == 1, data["STELLAR_MASS"] < 9.25)
    labelled = np.isfinite(data["Z"])
    np.testing.assert_array_equal(data["Z"][labelled], data["TRUE_Z"][labelled])
    assert abs(labelled.mean() - 0.5) < 4 * np.sqrt(0.25 / 300)
    assert abs(np.mean(data["POPULATION"] == 0) - 0.5) < 4 * np.sqrt(0.25 / 300)
    # Uniform in sin(Dec) between -5 and 35 degrees.
    sin_dec = np.sin(np.deg2rad(data["DEC"]))
    middle = np.mean(np.sin(np.deg2rad([-5, 35])))
    assert abs(np.mean(sin_dec < middle) - 0.5) < 4 * np.sqrt(0.25 / 300)


def test_a_galaxy_depends_on_seed_and_number_alone(survey, tmp_path):
    # Two processes, another length, blocks that end elsewhere.
    out = tmp_path / "other.h5"
    write_survey(out, CONFIG, galaxies=70, workers=2)
    long, short = contents(survey), contents(out)
    for name, values in short.items():
        np.testing.assert_array_equal(values, long[name][:70], err_msg=name)
    other = Simulator(replace(CONFIG, seed=8)).row(0)[0]
    assert not np.array_equal(other, long["images"][0])


def test_size_and_labels_do_not_change_the_catalogue(survey):
    row = Simulator(replace(CONFIG, size_px=64, labelled_fraction=1.0)).row(5)[1]
    data = contents(survey)
    assert np.float32(row["Z"]) == data["TRUE_Z"][5]
    assert np.float32(row["TRUE_RADIUS_ARCSEC"]) == data["TRUE_RADIUS_ARCSEC"][5]


def test_the_same_survey_is_not_made_twice_and_another_is_refused(survey):
    before = survey.stat().st_mtime_ns
    assert not write_survey(survey, CONFIG, galaxies=300, workers=1)
    assert survey.stat().st_mtime_ns == before
    with pytest.raises(MismatchError, match="seed = 7, asked for 8"):
        write_survey(survey, replace(CONFIG, seed=8), galaxies=300, workers=1)


def test_a_file_of_another_kind_is_not_overwritten(tmp_path):
    out = tmp_path / "notes.h5"
    out.write_text("mine")
    with pytest.raises(MismatchError, match="not a simulated survey"):
        write_survey(out, CONFIG, galaxies=1, workers=1)
    assert out.read_text() == "mine"


def failing_simulator(config, **options):
    simulator = Simulator(config, **options)
    first = simulator.row

    def row(i):
        if i == 40:
            raise OSError(28, "No space left on device")
        return first(i)

    simulator.row = row
    return simulator


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    with pytest.raises(DataError, match=r"s\.h5.*No space left"):
        write_survey(tmp_path / "s.h5", CONFIG, galaxies=64, workers=1, make=failing_simulator)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_gives_one_line(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    status = cli.main(["simulate", f"out={blocked / 's.h5'}", "galaxies=1", "workers=1"])
    err = capsys.readouterr().err.strip()
    assert status != 0
    assert err.startswith("error:")
    assert str(blocked) in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "bad",
    [
        "galaxies=0",
        "size_px=33",
        "seed=-1",
        "proportions=[0,0,0]",
        "proportions=[1,-1,1]",
        "r_limit_mag=30",
        "labelled_fraction=1.5",
        "galaxies_per_arcmin2=-1",
        "workers=-1",
    ],
)
def test_bad_settings_are_named(bad, tmp_path):
    with pytest.raises(ConfigError, match=bad.split("=")[0] + ".*expected"):
        simulate(**cli.parse("simulate", [bad, f"out={tmp_path / 's.h5'}"]))


def test_not_a_number_is_refused():
    with pytest.raises(ConfigError, match="labelled_fraction = nan"):
        SimulatorConfig(labelled_fraction=float("nan"))


def test_program_writes_what_it_says(tmp_path, capsys):
    given = {"galaxies": 2, "simulator": SimulatorConfig(size_px=16), "workers": 1}
    made = [simulate(str(tmp_path / "s.h5"), **given) for _ in range(2)]
    assert [len(one) for one in made] == [2, 2]
    said = capsys.readouterr().out
    assert "simulated survey in" in said
    assert "same simulated survey is already in" in said
