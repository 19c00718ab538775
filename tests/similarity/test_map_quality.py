import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from ssl_photoz.core.errors import DataError
from ssl_photoz.similarity.map import measure_trust


def scattered(n, seed=0):
    """Unit vectors, and a map that shows two of their ten dimensions, blurred."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 10))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = vectors[:, :2] + 0.1 * rng.normal(size=(n, 2))
    return vectors.astype(np.float32), places.astype(np.float32)


@pytest.mark.parametrize("neighbours", [1, 15])
def test_asked_of_all_it_is_what_scikit_learn_says(neighbours):
    vectors, places = scattered(400)
    trust = measure_trust(vectors, places, neighbours=neighbours, asked=400)
    assert trust.trustworthiness == pytest.approx(
        trustworthiness(vectors, places, n_neighbors=neighbours), abs=1e-6
    )
    assert trust.continuity == pytest.approx(
        trustworthiness(places, vectors, n_neighbors=neighbours), abs=1e-6
    )
    assert trust.trustworthiness_error == trust.continuity_error == 0


def test_the_error_of_a_sample_is_what_samples_scatter_by():
    vectors, places = scattered(400)
    whole = measure_trust(vectors, places, asked=400)
    drawn = [measure_trust(vectors, places, asked=50, seed=seed) for seed in range(60)]
    pulls = [
        (one.trustworthiness - whole.trustworthiness) / one.trustworthiness_error for one in drawn
    ]
    assert np.std(pulls) == pytest.approx(1, abs=0.3)
    assert abs(np.mean(pulls)) < 0.5


def test_a_perfect_map_is_trusted_and_continuous():
    angle = np.sort(np.random.default_rng(0).uniform(0, 1, 200))
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    trust = measure_trust(circle, circle, neighbours=5)
    assert trust.trustworthiness > 0.9999
    assert trust.continuity > 0.9999


def test_a_map_of_three_is_refused():
    with pytest.raises(DataError, match="3 galaxies are too few"):
        measure_trust(*scattered(3))
