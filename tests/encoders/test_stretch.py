import torch

from ssl_photoz.encoders.stretch import asinh


def test_asinh_is_exact_to_single_precision_and_odd():
    x = torch.cat([torch.zeros(1), torch.logspace(-37, 18, 20_000)])
    exact = torch.asinh(x.double())
    torch.testing.assert_close(asinh(x).double(), exact, rtol=3e-7, atol=0)
    assert asinh(-x).equal(-asinh(x))


def test_asinh_keeps_gradients_and_what_is_not_finite():
    x = torch.tensor([0.0, 1.0, -2.0], requires_grad=True)
    asinh(x).sum().backward()
    torch.testing.assert_close(x.grad, 1 / (1 + x.detach().square()).sqrt())
    assert not asinh(torch.tensor([torch.nan, torch.inf, -torch.inf])).isfinite().any()
