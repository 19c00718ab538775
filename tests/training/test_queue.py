import pytest
import torch
from torch.nn import functional as F

from ssl_photoz.core.errors import ShapeError
from ssl_photoz.training.moco import KeyQueue, info_nce


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
