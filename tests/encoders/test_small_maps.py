import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ssl_photoz.encoders.backbones import ResNetStages
from ssl_photoz.encoders.small_maps import SmallMapConv2d, convolve_as_matrix, use_on_small_maps


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 3), (4, 4), (2, 3)])
def test_the_matrix_is_the_convolution(size, stride):
    draws = torch.Generator().manual_seed(0)
    maps = torch.randn(5, 6, *size, generator=draws, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 6, 3, 3, generator=draws, dtype=torch.float64, requires_grad=True)
    ours = convolve_as_matrix(maps, weight, stride=stride)
    theirs = F.conv2d(maps, weight, stride=stride, padding=1)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn(theirs.shape, generator=draws, dtype=torch.float64)
    for mine, other in zip(
        torch.autograd.grad(ours, (maps, weight), upstream),
        torch.autograd.grad(theirs, (maps, weight), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_a_network_has_the_same_weights_and_answers():
    torch.manual_seed(0)
    network = ResNetStages("resnet18", bands=3, stem="standard").eval()
    swapped = [m for m in network.modules() if isinstance(m, SmallMapConv2d)]
    assert len(swapped) == 4  # two blocks of two
    image = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        ours = network(image)[-1]
        for module in swapped:
            module.__class__ = nn.Conv2d
        theirs = network(image)[-1]
    assert ours.shape[2:] == (2, 2)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_autocast_is_followed_and_gradients_reach_the_weights():
    torch.manual_seed(0)
    network = ResNetStages("resnet18", bands=1, stem="standard")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # blocks start as the identity, their gradients as 0
    with torch.autocast("cpu", torch.bfloat16):
        last = network(torch.randn(4, 1, 48, 48))[-1]
    last.float().square().mean().backward()
    for module in network.modules():
        if isinstance(module, SmallMapConv2d):
            assert torch.isfinite(module.weight.grad).all()
            assert module.weight.grad.abs().sum() > 0


def test_only_plain_3x3_convolutions_are_replaced():
    kept = [nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3)]
    network = nn.Sequential(*kept, nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False)))
    use_on_small_maps(network)
    assert [type(module) for module in network[:3]] == [nn.Conv2d] * 3
    assert type(network[3][0]) is SmallMapConv2d


def test_wide_maps_are_convolved_as_ever():
    torch.manual_seed(0)
    ours = SmallMapConv2d(3, 4, 3, padding=1, bias=False)
    maps = torch.randn(2, 3, 9, 9)
    assert torch.equal(ours(maps), F.conv2d(maps, ours.weight, padding=1))
