"""MoCo: two views, a momentum pair, a queue, and the pretext.

Everything that the next step depends on is a parameter, a buffer, the optimiser's state or a
function of (seed, step): a run resumed from a checkpoint repeats the interrupted one.

With several processes a batch is the global one and each has its part. Keys are made of galaxies
dealt anew (by a counted permutation), so that a query and its key never share the statistics of one
batch normalisation, then put back in order: every process has the same queue.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ssl_photoz.augment.draws import generator
from ssl_photoz.core.errors import ShapeError
from ssl_photoz.cutouts.batches import Batch
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.encoders.measurements import Measurements
from ssl_photoz.encoders.torchvision_import import import_torchvision
from ssl_photoz.training import ranks
from ssl_photoz.training.engine import TrainingTask
from ssl_photoz.training.health import require_sane_loss, require_spread
from ssl_photoz.training.label_losses import LabelLoss
from ssl_photoz.training.settings import MoCoConfig

Module = TypeVar("Module", bound=nn.Module)

SGD_MOMENTUM = 0.9
CLIP = 5.0  # standardised pretext targets are cut to this


class MoCo(TrainingTask):
    """Momentum contrast and, where it is wanted, a photometric pretext beside it.

    Args:
        encoder: The encoder to train.
        views: Function that makes one augmented view of a batch.
        config: The losses and the optimiser.
        targets: What the pretext predicts; None: no pretext.
        likeness: Place of each galaxy of a batch among its like, (B, L), which weighs negatives;
            None: all weigh the same.
        total_steps: Length of the run, steps.
        seed: Seed of every draw.
        label_loss: Loss of what is learnt of the first view, (B, learnt_dim), and the batch's z,
            (B,), with its weight beside the others; None: no labels.
        scores: Function of the encoder, called after each epoch; gives further figures to log.

    Attributes:
        global_step: Number of steps done before the one in progress.

    References:
        He et al. 2020, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297; Tsai et al. 2022,
        arXiv:2106.02866 (conditional contrast).
    """

    def __init__(
        self,
        encoder: Encoder,
        views: Callable[..., Tensor],
        config: MoCoConfig,
        *,
        total_steps: int,
        seed: int,
        targets: PretextTargets | None = None,
        likeness: Likeness | None = None,
        label_loss: LabelLoss | None = None,
        scores: Callable[[Encoder], Mapping[str, float]] = lambda _: {},
    ) -> None:
        super().__init__()
        import_torchvision()
        from lightly.models.modules.heads import MoCoProjectionHead

        dim = config.projection_dim
        self.encoder, self.config = encoder, config
        hidden = 2 * dim if encoder.config.learnt_dim else encoder.width
        self.projector = MoCoProjectionHead(encoder.learnt_dim, hidden, dim)
        self.key_encoder = _frozen_twin(encoder)
        self.key_projector = _frozen_twin(self.projector)
        self.likeness = likeness
        self.queue = KeyQueue(
            config.queue_size,
            dim,
            places=0 if likeness is None else likeness.dim,
            generator=generator(seed, 0, 0, 2),
        )
        self.pretext = None if targets is None else PretextHead(encoder.learnt_dim, targets)
        self.label_loss = label_loss
        # No process may wait for a gradient of the projector that never comes.
        self.projector.requires_grad_(config.contrast_weight > 0)
        self.views = views
        self.total_steps, self.seed, self.scores = total_steps, seed, scores
        self.global_step = 0

    def training_step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Take one step's losses; counted draws make them a function of (weights, batch, step)."""
        self.global_step = step
        config = self.config
        features = self.encoder.bottleneck(self.encoder(self._view(batch, 0)))
        zero = features.new_zeros((), dtype=torch.float32)
        contrastive, accuracy, pretext = zero, zero, zero
        if config.contrast_weight:
            queries = F.normalize(self.projector(features).float(), dim=1)
            keys = self._keys(batch)
            own = keys[ranks.share(len(keys))]
            negatives = self.queue.keys.clone()  # the push below must not reach the backward pass
            places, weights = self._weigh(batch)
            contrastive, accuracy = info_nce(
                queries, own, negatives, temperature=config.temperature, log_weights=weights
            )
            self.queue.push(keys, places)
        if self.pretext is not None:
            pretext = self.pretext(features, batch.flux)
        faded = 1 - config.contrast_fade * self.global_step / self.total_steps
        loss: Tensor = (
            config.contrast_weight * faded * contrastive + config.pretext_weight * pretext
        )
        losses = {"contrastive_loss": contrastive, "pretext_loss": pretext}
        losses["contrast_accuracy"] = accuracy
        if self.label_loss is not None:
            assert batch.z is not None
            with torch.autocast(batch.flux.device.type, enabled=False):
                everyone = ranks.gathered_with_gradient(features.float())
                losses["label_loss"] = self.label_loss(everyone, ranks.gathered(batch.z))
            loss = loss + self.label_loss.weight * losses["label_loss"]
        return {"loss": loss, **losses}

    def configure_optimizers(self) -> tuple[Optimizer, LRScheduler]:
        """AdamW or SGD with a linear warm-up and a cosine decay, per step."""
        from lightly.utils.scheduler import CosineWarmupScheduler

        config = self.config
        trained = [p for p in self.parameters() if p.requires_grad]
        given: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        optimizer: Optimizer = (
            torch.optim.SGD(trained, momentum=SGD_MOMENTUM, **given)
            if config.optimiser == "sgd"
            else torch.optim.AdamW(trained, fused=True, **given)
        )
        warmup_steps = round(config.warmup * self.total_steps)
        return optimizer, CosineWarmupScheduler(optimizer, warmup_steps, self.total_steps)

    def evaluate(self) -> Mapping[str, float]:
        """Scores of the encoder."""
        return self.scores(self.encoder)

    def check(self, figures: Mapping[str, float], during: str) -> None:
        """Look for losses that are not finite or diverge, and for a collapse."""
        require_sane_loss(figures, queue_size=len(self.queue.keys), steps=during)
        require_spread(figures, steps=during)

    def _view(self, batch: Batch, which: int) -> Tensor:
        counters = (self.seed, self.global_step, ranks.rank(), which)
        draws = generator(*counters, device=batch.flux.device)
        view = self.views(
            batch.flux,
            ebv_mag=batch.ebv_mag,
            psf_fwhm_arcsec=batch.psf_fwhm_arcsec,
            noise=batch.noise,
            generator=draws,
        )
        return view.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _weigh(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Places of the whole batch, (B, L), and log weights of the negatives for this part."""
        if self.likeness is None:
            return None, None
        config, mine = self.config, self.likeness(batch)
        if config.negatives == "random":
            draws = generator(self.seed, self.global_step, ranks.rank(), 4)
            mine = torch.randn(mine.shape, generator=draws).to(mine)
        apart = torch.cdist(mine, self.queue.places).square()
        log_weights = apart.div(-2 * config.likeness_width**2)
        total = log_weights.logsumexp(dim=1, keepdim=True)
        return ranks.gathered(mine), log_weights - total + math.log(config.effective_negatives)

    @torch.no_grad()
    def _keys(self, batch: Batch) -> Tensor:
        from lightly.models.utils import update_momentum
        from lightly.utils.scheduler import cosine_schedule

        momentum = cosine_schedule(
            self.global_step, self.total_steps, self.config.momentum, self.config.momentum_end
        )
        update_momentum(self.encoder, self.key_encoder, m=momentum)
        update_momentum(self.projector, self.key_projector, m=momentum)
        view = self._view(batch, 1)
        draws = generator(self.seed, self.global_step, 0, 3)
        order = torch.randperm(ranks.world() * len(view), generator=draws)
        features = self.key_encoder.bottleneck(self.key_encoder(ranks.batch_shuffle(view, order)))
        keys = F.normalize(self.key_projector(features).float(), dim=1)
        return ranks.batch_unshuffle(keys, order)


def _frozen_twin(module: Module) -> Module:
    twin = copy.deepcopy(module)
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


class KeyQueue(nn.Module):
    """A ring of past keys; keys and pointer are buffers, so a checkpoint holds them.

    Args:
        size: Keys kept.
        dim: Length of a key.
        places: Length of the place that is kept with each key, see `Likeness`.
        generator: Source of the unit vectors that it starts with.
    """

    keys: Tensor
    places: Tensor
    pointer: Tensor

    def __init__(self, size: int, dim: int, *, places: int = 0, generator: torch.Generator) -> None:
        super().__init__()
        start = F.normalize(torch.randn(size, dim, generator=generator), dim=1)
        self.register_buffer("keys", start)
        self.register_buffer("places", torch.randn(size, places, generator=generator))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor, places: Tensor | None = None) -> None:
        """Replace the oldest keys by new ones, (B, dim), and their places, (B, places).

        Raises:
            ShapeError: If the queue's size is not a multiple of B.
        """
        if len(self.keys) % len(keys):
            raise ShapeError(
                f"queue of {len(self.keys)} keys is not a multiple of the batch of {len(keys)}"
            )
        rows = self.pointer + torch.arange(len(keys), device=keys.device)
        self.keys[rows] = keys.to(self.keys.dtype)
        if places is not None:
            self.places[rows] = places
        self.pointer.copy_((self.pointer + len(keys)) % len(self.keys))


class Likeness(nn.Module):
    """Place of a galaxy among its like: the first whitened components of its measurements.

    Args:
        measurements: The measurements.
        sample: Standardised measurements of a sample, (N, M), that the components are found in.
        dim: Number of components.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, measurements: Measurements, sample: Tensor, *, dim: int = 8) -> None:
        super().__init__()
        self.dim = dim
        self.measure = copy.deepcopy(measurements)
        centred = (sample - sample.mean(dim=0)).double()
        _, values, axes = torch.linalg.svd(centred, full_matrices=False)
        scale = values[:dim].clamp_min(1e-9) / len(sample) ** 0.5
        self.register_buffer("mean", sample.mean(dim=0))
        self.register_buffer("axes", (axes[:dim] / scale[:, None]).T.float())

    def forward(self, batch: Batch) -> Tensor:
        """Places of a batch, (B, dim), from the middle of each cutout as it is."""
        size = self.measure.size_px
        top, left = ((full - size) // 2 for full in batch.flux.shape[2:])
        crop = batch.flux[..., top : top + size, left : left + size]
        with torch.autocast(crop.device.type, enabled=False):
            known = {"psf_fwhm_arcsec": batch.psf_fwhm_arcsec, "noise": batch.noise}
            places: Tensor = (self.measure(crop, **known) - self.mean) @ self.axes
        return places


def info_nce(
    queries: Tensor,
    keys: Tensor,
    negatives: Tensor,
    *,
    temperature: float,
    log_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Contrast each query's own key with the queue.

    Args:
        queries: Unit vectors (B, dim).
        keys: The other view's unit vectors (B, dim), row by row; no gradient flows into them.
        negatives: Unit vectors (K, dim).
        temperature: Temperature of the softmax.
        log_weights: Logarithm of the weight of each negative for each query, (B, K); None: 0.

    Returns:
        The mean loss, and the share of queries whose own key is the most similar.

    References:
        He et al. 2020, arXiv:1911.05722, equation 1.
    """
    positive = (queries * keys.detach()).sum(dim=1, keepdim=True)
    against = queries @ negatives.T / temperature
    if log_weights is not None:
        against = against + log_weights
    logits = torch.cat([positive / temperature, against], dim=1)
    target = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    accuracy = (logits.argmax(dim=1) == 0).float().mean()
    return F.cross_entropy(logits, target), accuracy


@dataclass(frozen=True)
class PretextTargets:
    """Photometry that the pretext predicts, measured on un-augmented cutouts without labels.

    Attributes:
        measure: Function of flux (B, C, H, W) that gives the targets, (B, F).
        mean: Mean of each target over the training set, (F,).
        std: Standard deviation of each target, (F,).
    """

    measure: Callable[[Tensor], Tensor]
    mean: Tensor
    std: Tensor


class PretextHead(nn.Module):
    """A small head on the backbone's features that predicts photometry.

    Contrast between views teaches the encoder to ignore what the views do not share; this
    loss keeps it aware of brightness, colour and size, which redshift depends on.

    Args:
        width: Number of backbone features.
        targets: What it predicts.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, targets: PretextTargets) -> None:
        super().__init__()
        self.measure = targets.measure
        self.register_buffer("mean", targets.mean.clone())
        self.register_buffer("std", targets.std.clamp_min(1e-6))
        outputs = len(targets.mean)
        self.net = nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Linear(512, outputs))

    def forward(self, features: Tensor, flux: Tensor) -> Tensor:
        """Smooth L1 loss between prediction and standardised targets.

        Args:
            features: Features of one view, (B, width).
            flux: The un-augmented cutouts, (B, C, H, W).
        """
        with torch.autocast(flux.device.type, enabled=False):
            targets = self.measure(flux)
        wanted = ((targets - self.mean) / self.std).clamp(-CLIP, CLIP)
        return F.smooth_l1_loss(self.net(features).float(), wanted)
