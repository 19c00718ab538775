import numpy as np
import pytest
import torch

from ssl_photoz.photoz.base import to_target
from ssl_photoz.photoz.bias.cells import Bins, Cells, membership, rows_for
from ssl_photoz.photoz.bias.head import Head, Labels, Sample

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def fitted(survey):
    """A head of two channels, the samples it was fitted to, and its bins."""
    some = [survey(n, seed=s) for n, s in ((400, 1), (100, 2))]
    bins = Bins.over(to_target(some[0].z), 20)
    cells = Cells.over(some[0].magnitude, to_target(some[0].z), rows=rows_for(2), columns=5)
    train, val = (
        Sample(
            one.features,
            Labels.plain(bins.place(to_target(one.z)), membership(cells, one.magnitude, 2)),
        )
        for one in some
    )
    return Head.fit(train, val, bins=bins, seed=0), train, val


def test_probabilities_are_over_bins_and_follow_the_seed(fitted):
    head, train, val = fitted
    said = head.probabilities(val.features)
    assert said.shape == (100, 20)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)
    again = Head.fit(train, val, bins=head.bins, seed=0).probabilities(val.features)
    np.testing.assert_array_equal(said, again)
    assert not np.array_equal(
        said, Head.fit(train, val, bins=head.bins, seed=1).probabilities(val.features)
    )


def test_a_head_learns_64_galaxies_by_heart(survey):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(64, 30)).astype("f4")
    place = rng.integers(0, 8, 64).astype(float)
    sample = Sample(features, Labels.plain(place, np.ones((64, 1))))
    head = Head.fit(sample, sample, bins=Bins(0.0, 0.01, 8), seed=0)
    assert (head.probabilities(features).argmax(axis=1) == place).mean() > 0.95


def test_refitting_changes_the_output_layer_and_nothing_else(fitted):
    head, train, val = fitted
    before = {name: value.clone() for name, value in head.network.state_dict().items()}
    other = head.refit(train, val, width=np.array([2.0, 2.0]), seed=0)
    for name, value in other.network.state_dict().items():
        assert torch.equal(head.network.state_dict()[name], before[name])
        assert torch.equal(value, before[name]) != name.endswith(".2")


def test_an_extended_head_answers_beyond_the_training_redshifts(fitted):
    head, train, val = fitted
    wider = head.extended()
    assert wider.probabilities(val.features).shape == (100, 40)
    for name in ("weights.0", "weights.1", "biases.0", "biases.1"):
        assert torch.equal(wider.network.state_dict()[name], head.network.state_dict()[name])
    far = [
        Sample(
            one.features, Labels(one.labels.centre * 0 + 38, one.labels.member, one.labels.weight)
        )
        for one in (train, val)
    ]
    taught = wider.refit(*far, width=np.zeros(2), seed=0)
    assert (taught.probabilities(val.features).argmax(axis=1) == 38).mean() > 0.9
