"""What ssl-legacysurvey writes, and what its network sees: written from its code, not ours."""

import math
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

from ssl_photoz.encoders.torchvision_import import import_torchvision


def their_network(name="resnet18", seed=0):
    """A torchvision ResNet with two layers in place of its classifier, and lived-in statistics."""
    torchvision = import_torchvision()
    torch.manual_seed(seed)
    network = getattr(torchvision.models, name)(num_classes=128)
    width = network.fc.in_features
    network.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), network.fc)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return network.eval()


def their_checkpoint(path, network, **extra):
    """What Lightning writes for Moco_v2: query and key networks, two queues, hyper-parameters."""
    state = OrderedDict()
    for prefix in ("encoder_q", "encoder_k"):
        for name, value in network.state_dict().items():
            state[f"{prefix}.{name}"] = value.clone() + (prefix == "encoder_k")
    for queue in ("queue", "val_queue"):
        state[queue], state[f"{queue}_ptr"] = torch.randn(128, 64), torch.zeros(1, dtype=torch.long)
    content = {
        "epoch": 1499,
        "global_step": 160_000,
        "pytorch-lightning_version": "1.6.2",
        "state_dict": state,
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": None}},
        "hparams_name": "kwargs",
        "hyper_parameters": {"softmax_temperature": 0.2, "encoder_momentum": 0.996},
        **extra,
    }
    torch.save(content, path)
    return path


def their_input(flux):
    """One (3, H, W) image as their loader hands it over, pixel by pixel, in double precision."""
    image = np.swapaxes(np.asarray(flux, np.float64), 0, 2)[:, :, ::-1]
    scales, out = (2.2, 3.4, 6.0), np.empty_like(image)
    for place in np.ndindex(image.shape[:2]):
        light = sum(max(0.0, x * s + 0.03) for x, s in zip(image[place], scales, strict=True)) / 3
        compressed = math.asinh(20 * light) / math.sqrt(20)
        light = light or 1e-6
        for band, scale in enumerate(scales):
            slipped = image[place][band] * (scale + 0.03 * compressed / light)
            out[(*place, band)] = min(max(slipped, 0.0), 1.0)
    return torch.from_numpy(out.transpose(2, 0, 1).astype(np.float32))
