from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.encoders.measurements import Measurements
from ssl_photoz.encoders.settings import MeasurementConfig
from ssl_photoz.training.moco import KeyQueue, Likeness, info_nce


def unit(n, dim, seed=0):
    return F.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def queue(size=12, dim=4):
    return KeyQueue(size, dim, generator=torch.Generator().manual_seed(1))


def test_queue_is_first_in_first_out():
    ring = queue()
    batches = [unit(4, 4, seed) for seed in range(5)]
    for batch in batches:
        ring.push(batch)
    held = torch.cat([batches[3], batches[4], batches[2]])
    torch.testing.assert_close(ring.keys, held)
    assert int(ring.pointer) == 8


def test_queue_survives_a_state_dict():
    ring, other = queue(), queue()
    ring.push(unit(4, 4))
    other.load_state_dict(ring.state_dict())
    torch.testing.assert_close(other.keys, ring.keys, rtol=0, atol=0)
    assert int(other.pointer) == 4


def test_queue_refuses_a_batch_that_does_not_divide_it():
    with pytest.raises(ShapeError, match="not a multiple of the batch of 5"):
        queue().push(unit(5, 4))


def test_a_key_and_its_place_stay_together():
    ring = KeyQueue(12, 4, places=2, generator=torch.Generator().manual_seed(1))
    for seed in range(5):
        keys = unit(4, 4, seed)
        ring.push(keys, 10 * keys[:, :2])
    torch.testing.assert_close(ring.places, 10 * ring.keys[:, :2])
    other = KeyQueue(12, 4, places=2, generator=torch.Generator().manual_seed(2))
    other.load_state_dict(ring.state_dict())
    assert torch.equal(other.places, ring.places)


def test_weighted_negatives_equal_plain_numpy():
    queries, keys, negatives = unit(6, 8, 0), unit(6, 8, 1), unit(20, 8, 2)
    log_weights = torch.randn(6, 20, generator=torch.Generator().manual_seed(3))
    loss, accuracy = info_nce(queries, keys, negatives, temperature=0.3, log_weights=log_weights)
    q, k, others, weights = (
        one.double().numpy() for one in (queries, keys, negatives, log_weights.double().exp())
    )
    positive = np.exp(np.sum(q * k, axis=1) / 0.3)
    against = weights * np.exp(q @ others.T / 0.3)
    expected = -np.mean(np.log(positive / (positive + against.sum(axis=1))))
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(accuracy) == pytest.approx(np.mean(positive > against.max(axis=1)))


def test_a_weight_of_two_is_a_negative_seen_twice():
    queries, keys, negatives = unit(6, 8, 0), unit(6, 8, 1), unit(20, 8, 2)
    twice = torch.full((6, 20), 2.0).log()
    weighted, _ = info_nce(queries, keys, negatives, temperature=0.3, log_weights=twice)
    repeated, _ = info_nce(queries, keys, torch.cat([negatives] * 2), temperature=0.3)
    torch.testing.assert_close(weighted, repeated)


def test_places_of_a_sample_are_white():
    few = MeasurementConfig(windows=3, shapes=1, scales_px=(1.0,))
    about = {"bands": "gr", "size_px": 12, "pixscale_arcsec": 0.4, "calibrated": True}
    measured = Measurements(few, noise=[0.01, 0.02], **about)
    draws = torch.Generator().manual_seed(0)
    flux = torch.rand(200, 2, 1, 1, generator=draws) + 0.1 * torch.randn(
        200, 2, 16, 16, generator=draws
    )
    size_arcsec = 1 + 0.2 * torch.rand(200, 2, generator=draws)
    noise = 0.01 + 0.01 * torch.rand(200, 2, generator=draws)
    sample = measured.measure(flux[..., 2:14, 2:14], psf_fwhm_arcsec=size_arcsec, noise=noise)
    measured.standardise_by(sample)
    likeness = Likeness(measured, measured.standardised(sample), dim=5)
    places = likeness(SimpleNamespace(flux=flux, psf_fwhm_arcsec=size_arcsec, noise=noise))
    assert places.shape == (200, 5)
    torch.testing.assert_close(places.mean(dim=0), torch.zeros(5), rtol=0, atol=1e-4)
    torch.testing.assert_close(places.T @ places / 200, torch.eye(5), rtol=0, atol=1e-3)
    # The first component is the longest: of the same sample along the first axis of a PCA.
    standard = measured.standardised(sample).double().numpy()
    _, _, axes = np.linalg.svd(standard - standard.mean(axis=0), full_matrices=False)
    first = standard @ axes[0]
    assert abs(np.corrcoef(first, places[:, 0].numpy())[0, 1]) == pytest.approx(1, abs=1e-4)


def test_loss_equals_a_slow_loop():
    queries, keys, negatives = unit(6, 8, 0), unit(6, 8, 1), unit(20, 8, 2)
    loss, _ = info_nce(queries, keys, negatives, temperature=0.3)
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        positive = torch.exp(query @ key / 0.3)
        others = sum(torch.exp(query @ negative / 0.3) for negative in negatives)
        total -= torch.log(positive / (positive + others))
    torch.testing.assert_close(loss, total / 6)


def test_accuracy_counts_queries_closest_to_their_own_key():
    keys = torch.eye(4)
    queries = keys.clone()
    queries[0] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    _, accuracy = info_nce(queries, keys, 0.5 * torch.eye(4), temperature=0.1)
    assert float(accuracy) == 0.75


def test_no_gradient_reaches_the_keys():
    queries, keys = unit(3, 4).requires_grad_(), unit(3, 4, 1).requires_grad_()
    info_nce(queries, keys, unit(5, 4, 2), temperature=0.1)[0].backward()
    assert queries.grad is not None
    assert keys.grad is None
