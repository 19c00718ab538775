"""What is in no format, and what is asked to be read as another; `Stored` objects in general."""

import os
import pickle

import numpy as np
import pytest

from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.cutouts.formats import registry
from ssl_photoz.cutouts.formats.stored import PerProcess
from ssl_photoz.cutouts.reader import Cutouts


def test_the_challenge_is_recognised_and_says_how(make_file):
    source = Cutouts.open(make_file()).source
    assert source.read_as == "challenge"
    assert source.recognised == "HDF5 with `images` (12, 3, 16, 16) at the root"


def test_a_format_can_be_asked_for_by_name(make_file):
    path = make_file()
    assert Cutouts.open(path, read_as="challenge").source.recognised == "as asked"
    with pytest.raises(ConfigError, match=r"read_as is 'grib', expected one of .*challenge"):
        Cutouts.open(path, read_as="grib")
    with pytest.raises(DataError, match="no dataset `jpeg`"):
        Cutouts.open(path, read_as="sdss_jpeg")


@pytest.mark.parametrize("name", ["a.txt", "a.npz", "a.fits", "noise"])
def test_what_no_format_recognises_is_refused_with_their_names(tmp_path, name):
    (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(DataError, match=r"is a file that no format recognises; .*challenge"):
        Cutouts.open(tmp_path / name)


def test_every_format_says_what_it_is():
    assert all(format_.says for format_ in registry.FORMATS.values())


def test_a_recogniser_that_fails_is_passed_over(make_file, monkeypatch):
    def fail(path):
        raise ZeroDivisionError

    broken = registry.FORMATS["challenge"]._replace(recognise=fail)
    monkeypatch.setattr(registry, "FORMATS", {"broken": broken, **registry.FORMATS})
    assert Cutouts.open(make_file()).source.read_as == "challenge"


class Counted:
    opened = 0

    def __init__(self):
        Counted.opened += 1
        self.closed = False

    def close(self):
        self.closed = True


def test_a_handle_is_opened_once_and_never_pickled(monkeypatch):
    monkeypatch.setattr(Counted, "opened", 0)
    kept = PerProcess(Counted)
    first = kept.get()
    assert kept.get() is first
    assert pickle.loads(pickle.dumps(kept)).get() is not first
    kept.close()
    assert first.closed
    assert Counted.opened == 2


def test_a_handle_of_another_process_is_left_alone(monkeypatch):
    kept = PerProcess(Counted)
    first = kept.get()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert kept.get() is not first
    assert not first.closed
