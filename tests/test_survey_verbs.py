"""Verbs from a catalogue to cutouts: every key of version 0.1 is still understood."""

import dataclasses
import json

import h5py
import pytest
from ssl_photoz.recipes.survey.convert import convert
from ssl_photoz.recipes.survey.inspect import inspect
from ssl_photoz.recipes.survey.simulate import simulate

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.simulator.settings import SimulatorConfig

CHECKS = {"repeat_arcsec": 2.0, "plateau_px": 9, "star_z": 0.002, "greatest_z": 3.0}
ABOUT = {"data": "a.npz", "bands": "[g,r]", "pixscale_arcsec": "0.3", "read_as": "pasquet"}
FORMERLY = {
    "select": {
        **{"catalogue": "c.fits", "out": "s.csv", "dwarfs": "d.fits", "per_group": "9"},
        **{"seed": "1", "repeats": "first", "without": "[mask]", "columns.z": "ZSPEC"},
    },
    "fetch": {
        **{"catalogue": "c.fits", "out": "o.h5", "coadds": "dr9", "layer": "ls-dr10"},
        **{"bands": "[g,r]", "size_px": "64", "pixscale_arcsec": "0.5", "max_blank": "0.2"},
        **{"dust": "none", "columns.id": "ID", "service.url": "http://here", "workers": "2"},
        **{"service.contact": "me", "service.per_second": "1", "service.connections": "3"},
        **{"service.tries": "2", "service.timeout_s": "5", "service.back_off_s": "2"},
        **{"service.longest_wait_s": "9"},
    },
    "simulate": {
        **{"out": "s.h5", "galaxies": "7", "seed": "1", "size_px": "32", "workers": "1"},
        **{"proportions": "[1,2,1]", "r_limit_mag": "20", "labelled_fraction": "0.5"},
        **{"galaxies_per_arcmin2": "1", "stars_per_arcmin2": "2", "survey": "north"},
    },
    "inspect": {
        **{**ABOUT, "out": "i", "sheet": "4", "sample": "9"},
        **{f"checks.{key}": str(value) for key, value in CHECKS.items()},
    },
    "clean": {
        **{**ABOUT, "out": "m", "reject": "[blank]"},
        **{f"checks.{key}": str(value) for key, value in CHECKS.items()},
    },
    "convert": {**ABOUT, "out": "c.h5", "size_px": "8", "shard_rows": "9"},
    "pack": {**ABOUT, "out": "p.h5", "mask": "m", "size_px": "8", "dtype": "float32"},
}


def flat(given, above=""):
    for name, value in given.items():
        if dataclasses.is_dataclass(value):
            yield from flat(vars(value), f"{above}{name}.")
        else:
            yield f"{above}{name}", value


@pytest.mark.parametrize("verb", FORMERLY)
def test_every_key_of_the_last_release_is_understood(verb, tmp_path):
    as_yaml = tmp_path / "old.yaml"
    as_yaml.write_text("\n".join(f"{key}: {value}" for key, value in FORMERLY[verb].items()))
    typed = [f"{key}={value}" for key, value in FORMERLY[verb].items()]
    read, given = (dict(flat(cli.parse(verb, some))) for some in ([str(as_yaml)], typed))
    assert read == given
    changed = {key for key, value in given.items() if value != cli.default_of(verb, key)}
    assert len(changed) >= len(FORMERLY[verb])


def test_what_clean_wrote_is_written_by_inspect():
    given = cli.parse("clean", ["data=a.h5"])
    assert (str(given["mask"]), given["page"]) == ("mask", False)
    assert str(cli.parse("clean", ["data=a.h5", "out=m"])["mask"]) == "m"


def test_what_pack_wrote_is_written_by_convert():
    assert cli.parse("pack", ["data=a.h5", "out=p.h5"])["dtype"] == "float16"
    assert cli.parse("convert", ["data=a.h5", "out=p.h5"])["dtype"] is None


def test_files_state_their_settings_as_those_of_the_last_release_do(tmp_path):
    whole = simulate(tmp_path / "s.h5", galaxies=4, simulator=SimulatorConfig(size_px=32))
    keys = ["galaxies_per_arcmin2", "labelled_fraction", "proportions", "r_limit_mag"]
    with h5py.File(tmp_path / "s.h5") as file:
        stated = json.loads(file.attrs["settings"])
    assert sorted(stated) == ["galaxies", *keys, "seed", "size_px", "stars_per_arcmin2"]
    inspect(whole, mask=tmp_path / "mask", page=False)
    convert(whole, tmp_path / "copy", shard_rows=2)
    about = ["bands", "pixscale_arcsec", "read_as"]
    config = artefact.read_card(tmp_path / "mask", "mask").config
    assert sorted(config) == sorted(["data", "out", *about, "reject", "checks"])
    config = artefact.read_card(tmp_path / "copy", "cutouts").config
    config = {key: value for key, value in config.items() if value is not None}
    assert config == {
        **{"data": str(tmp_path / "s.h5"), "out": str(tmp_path / "copy")},
        "shard_rows": 2,
    }
