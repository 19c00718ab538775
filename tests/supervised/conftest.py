"""Trainings here take no time: let them write a checkpoint after every epoch all the same."""

import pytest

from ssl_photoz.training.supervised import training


@pytest.fixture(autouse=True)
def checkpoints_at_every_epoch(monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
