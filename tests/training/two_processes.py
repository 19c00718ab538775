"""What each of several processes does in `test_ranks.py`; also run alone, for comparison."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from ssl_photoz.encoders.settings import EncoderConfig
from ssl_photoz.training import ranks
from ssl_photoz.training.engine import Engine
from ssl_photoz.training.label_losses import LabelLoss
from ssl_photoz.training.moco import MoCo, PretextTargets
from ssl_photoz.training.settings import MoCoConfig
from ssl_photoz.training.supervised.heads import RegressionHead
from ssl_photoz.training.supervised.network import Network
from ssl_photoz.training.supervised.settings import SupervisedConfig
from ssl_photoz.training.supervised.training import SupervisedTask

BATCH, STEPS = 8, 6
KEY_PARTS = []


class Toy(SimpleNamespace):
    def to(self, device):
        return self


class SmallEncoder(nn.Module):
    width, learnt_dim = 6, 4
    config = EncoderConfig(learnt_dim=4)

    def __init__(self):
        super().__init__()
        self.bottleneck = nn.Linear(6, 4, bias=False)  # a norm over four galaxies says little
        self.net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU())

    def forward(self, flux):
        return self.net(flux).mean(dim=(2, 3))


class Still(MoCo):
    """Batch norm with fixed statistics: then how a batch is shared out must not matter."""

    def train(self, mode=True):
        super().train(mode)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.eval()
        return self


def batch(step):
    draws = torch.Generator().manual_seed(step)
    flux = torch.randn(BATCH, 2, 8, 8, generator=draws)
    flux[:, 0, 0, 0] = torch.arange(BATCH) + BATCH * step  # says which galaxy it is
    mine = ranks.share(BATCH)
    z = torch.rand(BATCH, generator=draws)
    return Toy(flux=flux[mine], ebv_mag=None, psf_fwhm_arcsec=None, noise=None, z=z[mine])


def mirrored(flux, **_):
    return flux.flip(-1) if torch.is_grad_enabled() else flux.clone()


class ScatterLoss(LabelLoss):
    """A loss that needs the whole batch: the scatter of its features, weighed by redshift."""

    def forward(self, features, z):
        return ((features - features.mean(dim=0)).square().mean(dim=1) * z).mean()


def module(kind):
    torch.manual_seed(0)
    config = MoCoConfig(pretext_weight=1.0, queue_size=16, projection_dim=8, warmup=0.0)
    made = kind(
        SmallEncoder(),
        mirrored,
        config,
        targets=PretextTargets(
            lambda flux: flux[:, :, 1:].mean(dim=(2, 3)), mean=torch.zeros(2), std=torch.ones(2)
        ),
        total_steps=STEPS,
        seed=0,
        label_loss=ScatterLoss(),
        scores=lambda _: {"embedding_std": 0.5},
    )
    made.key_encoder.register_forward_pre_hook(
        lambda _, given: KEY_PARTS.append(given[0][:, 0, 0, 0].int().tolist())
    )
    return made.train()


class Blurry(Network):
    """A network without draws or batch norm."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Flatten())
        self.output = nn.Linear(216, 1)

    def forward(self, flux):
        return self.output(self.trunk(flux))[:, 0]


def supervised():
    """A network that learns redshifts, and which process scored it."""
    torch.manual_seed(0)
    scored_by = []

    def score(network):
        scored_by.append(ranks.rank())
        return {"score": float(network.output.weight.square().sum())}

    task = SupervisedTask(
        Blurry(),
        head=RegressionHead.of(np.linspace(0.1, 0.9, 9)),
        views=lambda flux, **_: flux.flip(-1),
        score=score,
        config=SupervisedConfig(learning_rate=1e-2),
        steps=STEPS,
    )
    return task, scored_by


def main(folder):
    with ranks.joined():
        still, moving = module(Still), module(MoCo)
        network, scored_by = supervised()
        for name, one in (("supervised", network), ("still", still), ("moving", moving)):
            KEY_PARTS.clear()
            (folder / name).mkdir(exist_ok=True)
            engine = Engine(
                one,
                folder=folder / name,
                steps=STEPS,
                steps_per_epoch=3,
                precision="32-true",
                checkpoint_steps=STEPS,
                patience=9 if one is network else None,
            )
            engine.train(lambda start: map(batch, range(start, STEPS)))
            torch.save(one.state_dict(), folder / f"{name}-{ranks.rank()}.pt")
        assert set(scored_by) == ({0} if ranks.rank() == 0 else set())
        (folder / f"keys-{ranks.rank()}.json").write_text(json.dumps(KEY_PARTS))
        if ranks.world() > 1:
            print(f"this is process {ranks.rank()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
