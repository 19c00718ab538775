import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.nearby.heads import (
    PENALTIES,
    RIDGES,
    VoteHead,
    choose_settings,
    fit_kernel,
    fit_logistic,
    fit_one_class,
    fit_perceptron,
    weigh_votes,
)
from ssl_photoz.nearby.search import calibrate
from ssl_photoz.similarity.reduction import Reduction

DIM = 12
DIRECTION = np.r_[2.0, -1.0, np.zeros(DIM - 2)]


def clouds(n, seed, *, rate=0.3, direction=DIRECTION):
    """Two Gaussian clouds of unequal spread in each dimension, 1.5 to 4 apart in all."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < rate).astype(np.float32)
    spread = np.linspace(0.5, 3, DIM)
    vectors = (rng.normal(size=(n, DIM)) + label[:, None] * direction) * spread + 7
    return vectors.astype(np.float32), label[:, None]


def precision_of(head, vectors, labels):
    return average_precision_score(labels[:, 0] == 1, head.score(vectors)[:, 0])


def vote_head(sample, ks=(15,)):
    """A fitted head, and what turns embeddings into its unit vectors."""
    reduce = Reduction.fit(sample["vectors"], pca_dim=DIM).apply
    val = {"val_units": reduce(sample["val_vectors"]), "val_labels": sample["val_labels"]}
    return VoteHead.fit(reduce(sample["vectors"]), sample["labels"], **val, ks=ks), reduce


@pytest.fixture
def sample():
    (train, labels), (val, val_labels) = clouds(1500, 0), clouds(500, 1)
    return {"vectors": train, "labels": labels, "val_vectors": val, "val_labels": val_labels}


def test_the_logistic_head_is_that_of_scikit_learn(sample):
    head = fit_logistic(**sample)
    assert head.chosen[0] in PENALTIES
    scaler = StandardScaler().fit(sample["vectors"])
    reference = LogisticRegression(C=head.chosen[0], max_iter=500)
    reference.fit(scaler.transform(sample["vectors"]), sample["labels"][:, 0])
    test, _ = clouds(300, 2)
    expected = reference.decision_function(scaler.transform(test))
    np.testing.assert_allclose(head.score(test)[:, 0], expected, atol=0.02)


def test_every_head_nears_the_best_possible_ranking(sample):
    test, labels = clouds(4000, 3)
    ideal = (test - 7) / np.linspace(0.5, 3, DIM) @ DIRECTION
    best = average_precision_score(labels[:, 0], ideal)
    background = clouds(2000, 4)[0]
    heads = {
        "logistic": fit_logistic(**sample),
        "kernel": fit_kernel(**sample),
        "mlp": fit_perceptron(**sample, epochs=10),
        "one_class": fit_one_class(**sample, background=background),
    }
    near, reduce = vote_head(sample, ks=(5, 20, 80))
    votes = near.score(reduce(test))[:, 0]
    reached = {"vote": average_precision_score(labels[:, 0], votes)}
    reached |= {name: precision_of(head, test, labels) for name, head in heads.items()}
    least = {"vote": 0.85, "logistic": 0.98, "kernel": 0.9, "mlp": 0.95, "one_class": 0.97}
    for name, share in least.items():
        assert reached[name] > share * best, (name, reached[name], best)
    assert labels.mean() < 0.5 * best


def test_kernels_find_an_island_that_no_plane_cuts_off():
    rng = np.random.default_rng(0)
    places = rng.normal(size=(3000, DIM)).astype(np.float32)
    # Wanted: the middle of the cloud, along two of its directions.
    labels = (np.hypot(places[:, 0], places[:, 1]) < 0.6).astype(np.float32)[:, None]
    parts = {"vectors": places[:2000], "labels": labels[:2000]}
    parts |= {"val_vectors": places[2000:2500], "val_labels": labels[2000:2500]}
    test, truth = places[2500:], labels[2500:]
    assert precision_of(fit_kernel(**parts), test, truth) > 0.8
    assert precision_of(fit_logistic(**parts), test, truth) < 2 * truth.mean()


def test_one_class_needs_positives_alone(sample):
    few = np.flatnonzero(sample["labels"][:, 0] == 1)[:12]
    nobody = {"val_vectors": np.empty((0, DIM), np.float32), "val_labels": np.empty((0, 1))}
    given = {"vectors": sample["vectors"][few], "labels": sample["labels"][few], **nobody}
    head = fit_one_class(**given, background=clouds(2000, 4, rate=0.02)[0])
    assert head.chosen == (RIDGES[len(RIDGES) // 2],)
    test, labels = clouds(4000, 3)
    assert precision_of(head, test, labels) > 2 * labels.mean()


def test_unknown_answers_change_nothing(sample):
    """A question answered for some galaxies only is learnt as if there were no others."""
    known = np.arange(1500) < 900
    labels = np.where(known[:, None], sample["labels"], np.nan).astype(np.float32)
    both = np.concatenate([sample["labels"], labels], axis=1)
    val = np.repeat(sample["val_labels"], 2, axis=1)
    test = clouds(200, 2)[0]
    asked = {**sample, "labels": both, "val_labels": val}
    near, alone = (
        head.score(reduce(test)) for head, reduce in (vote_head(asked), vote_head(sample))
    )
    np.testing.assert_allclose(near[:, :1], alone)
    assert np.abs(near[:, 1] - near[:, 0]).max() > 0.01
    head = fit_logistic(**asked)
    some = {**sample, "vectors": sample["vectors"][known], "labels": sample["labels"][known]}
    order = np.corrcoef(head.score(test)[:, 1], fit_logistic(**some).score(test)[:, 0])[0, 1]
    assert order > 0.995


def test_votes_agree_with_a_distance_weighted_classifier(sample):
    head, reduce = vote_head(sample, ks=(10,))
    reference = KNeighborsClassifier(10, weights="distance", metric="cosine", algorithm="brute")
    reference.fit(reduce(sample["vectors"]), sample["labels"][:, 0])
    test = clouds(200, 2)[0]
    expected = reference.predict_proba(reduce(test))[:, 1]
    np.testing.assert_allclose(head.score(reduce(test))[:, 0], expected, atol=1e-3)


def test_votes_by_hand():
    labels = np.array([[[1.0], [0.0], [1.0]], [[0.0], [np.nan], [np.nan]]], np.float32)
    distances = np.array([[0.2, 0.1, 0.4], [0.5, 0.6, 0.7]], np.float32)
    votes = weigh_votes(distances, labels)[:, 0]
    np.testing.assert_allclose(votes, [(5 + 2.5) / (5 + 10 + 2.5), 0], rtol=1e-6)


def test_settings_are_the_best_on_validation():
    labels = np.array([[1.0], [0.0], [1.0], [0.0], [np.nan]], np.float32)
    right, wrong = labels.copy(), 1 - labels
    right[4], wrong[4] = 0, 0
    assert choose_settings({1: wrong, 2: right, 3: right}, labels) == (2,)
    assert choose_settings({1: right, 2: wrong, 3: wrong}, np.ones((5, 1))) == (2,)
    two = {1: np.hstack([right, wrong]), 2: np.hstack([wrong, right]), 3: np.hstack([wrong, wrong])}
    assert choose_settings(two, np.hstack([labels, labels])) == (1, 2)
    with pytest.raises(ConfigError, match=r"ks is \[0\]"):
        VoteHead.fit(*clouds(9, 0), val_units=None, val_labels=None, ks=(0,))


@pytest.mark.parametrize(("n", "method"), [(4000, "isotonic"), (80, "platt")])
def test_probabilities_are_as_often_right_as_they_say(n, method):
    rng = np.random.default_rng(0)

    def draw(count):
        score = rng.normal(size=count) * 2 - 1
        return rng.random(count) < 1 / (1 + np.exp(-1.5 * score)), 10 * score + 3

    fit = calibrate(*draw(n))
    assert fit.method == method
    truth, score = draw(100_000)
    said = fit.apply(score)
    assert np.all(np.diff(fit.apply(np.sort(score))) >= 0)
    assert said.min() > 0
    assert said.max() < 1
    tolerance = 0.04 if method == "isotonic" else 0.12
    for low in np.arange(0, 1, 0.2):
        inside = (said >= low) & (said < low + 0.2)
        assert truth[inside].mean() == pytest.approx(said[inside].mean(), abs=tolerance)
    assert np.isnan(fit.apply(np.array([np.nan])))[0]


def test_no_probability_is_made_up():
    truth = np.arange(1000) < 9
    assert calibrate(truth, truth.astype(float)) is None
    assert calibrate(~truth, truth.astype(float)) is None
    backwards = calibrate(np.arange(40) < 20, np.arange(40.0))
    np.testing.assert_allclose(backwards.apply(np.arange(40.0)), 0.5)
