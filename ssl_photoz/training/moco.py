"""MoCo as a Lightning module: two views, a momentum pair, a queue, and the pretext.

Everything that the next step depends on is a parameter, a buffer, the optimiser's state or a
function of (seed, step): a run resumed from a checkpoint repeats the interrupted one.

With several processes a batch is the global one and each has its part. Keys are made of galaxies
dealt anew (by a counted permutation), so that a query and its key never share the statistics of one
batch normalisation, then put back in order: every process has the same queue.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_photoz.augment.draws import generator
from ssl_photoz.encoders.encoder import Encoder
from ssl_photoz.training import ranks
from ssl_photoz.training.health import require_sane_loss
from ssl_photoz.training.lightning import pl
from ssl_photoz.training.pretext import PretextHead
from ssl_photoz.training.queue import KeyQueue, info_nce

SGD_MOMENTUM = 0.9
METERS = ("loss", "contrastive_loss", "pretext_loss", "contrast_accuracy")


class TrainingBatch(Protocol):
    """What a training step needs of a batch; `ssl_photoz.cutouts.batches.Batch` has it."""

    flux: Tensor
    ebv_mag: Tensor
    psf_fwhm_arcsec: Tensor
    noise: Tensor

    @property
    def z(self) -> Tensor | None:
        """Redshifts that may be learnt from, (B,), NaN elsewhere; asked for by ``order`` alone."""
        ...

    def to(self, device: torch.device) -> TrainingBatch:
        """Move to a device."""
        ...


class MoCo(pl.LightningModule):
    """Momentum contrast with a photometric pretext beside it.

    Args:
        encoder: The encoder to train.
        views: Makes one augmented view of a batch.
        measure: Pretext targets (B, F) from un-augmented flux and noise; None: no pretext.
        target_mean: Of the pretext targets, (F,).
        target_std: Likewise, (F,).
        total_steps: Length of the run.
        seed: Of every draw.
        contrast_weight: Weight of the contrastive loss; 0 runs no key encoder.
        contrast_fade: Share of that weight lost by the end of the run.
        pretext_weight: Weight of the pretext loss.
        temperature: Of the contrastive softmax.
        queue_size: Negative keys kept.
        momentum: Of the key encoder at the start.
        momentum_end: At the end.
        projection_dim: Length of the vectors that are compared.
        optimiser: ``adamw`` or ``sgd``.
        learning_rate: Its peak.
        weight_decay: Of the optimiser.
        warmup: Share of the run over which the learning rate rises.
        order: Loss of the first view's features (B, width) and the batch's z (B,); None: no labels.
        order_weight: Weight of that loss.

    References:
        He et al. 2020, arXiv:1911.05722; Chen et al. 2020, arXiv:2003.04297.
    """

    meters: Tensor
    checked: Tensor

    def __init__(
        self,
        encoder: Encoder,
        views: Callable[..., Tensor],
        *,
        measure: Callable[..., Tensor] | None,
        target_mean: Tensor | None,
        target_std: Tensor | None,
        total_steps: int,
        seed: int,
        contrast_weight: float,
        contrast_fade: float,
        pretext_weight: float,
        temperature: float,
        queue_size: int,
        momentum: float,
        projection_dim: int,
        learning_rate: float,
        weight_decay: float,
        warmup: float,
        optimiser: str = "adamw",
        momentum_end: float = 1.0,
        order: nn.Module | None = None,
        order_weight: float = 0.0,
    ) -> None:
        super().__init__()
        from lightly.models.modules.heads import MoCoProjectionHead

        self.encoder = encoder
        self.projector = MoCoProjectionHead(encoder.width, encoder.width, projection_dim)
        self.key_encoder = _frozen_twin(encoder)
        self.key_projector = _frozen_twin(self.projector)
        self.queue = KeyQueue(queue_size, projection_dim, generator=generator(seed, 0, 0, 2))
        self.pretext: PretextHead | None = None
        if measure is not None and target_mean is not None and target_std is not None:
            self.pretext = PretextHead(encoder.width, mean=target_mean, std=target_std)
        self.order, self.order_weight = order, order_weight
        self.meter_names = METERS if order is None else (*METERS, "order_loss")
        sums = torch.zeros(len(self.meter_names) + 1, dtype=torch.float64)
        self.register_buffer("meters", sums)
        self.register_buffer("checked", sums.clone())
        self.projector.requires_grad_(contrast_weight > 0)  # no process may wait for its gradient
        self.views, self.measure = views, measure
        self.total_steps, self.seed = total_steps, seed
        self.contrast_weight, self.contrast_fade = contrast_weight, contrast_fade
        self.pretext_weight = pretext_weight
        self.temperature, self.momentum = temperature, (momentum, momentum_end)
        self.optimiser = optimiser
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        """Take one step's loss; counted draws make it a function of (weights, batch, step)."""
        features = self.encoder(self._view(batch, 0))
        zero = features.new_zeros((), dtype=torch.float32)
        contrastive, accuracy, pretext = zero, zero, zero
        if self.contrast_weight:
            queries = F.normalize(self.projector(features).float(), dim=1)
            keys = self._keys(batch)
            own = keys[ranks.share(len(keys))]
            negatives = self.queue.keys.clone()  # the push below must not reach the backward pass
            contrastive, accuracy = info_nce(queries, own, negatives, temperature=self.temperature)
            self.queue.push(keys)
        if self.pretext is not None and self.measure is not None:
            with torch.autocast(batch.flux.device.type, enabled=False):
                targets = self.measure(batch.flux)
            pretext = self.pretext(features, targets)
        faded = 1 - self.contrast_fade * self.global_step / self.total_steps
        loss: Tensor = self.contrast_weight * faded * contrastive + self.pretext_weight * pretext
        ordering = []
        if self.order is not None:
            assert batch.z is not None
            with torch.autocast(batch.flux.device.type, enabled=False):
                everyone = ranks.gathered_with_gradient(features.float())
                ordering = [self.order(everyone, ranks.gathered(batch.z))]
            loss = loss + self.order_weight * ordering[0]
        one = torch.ones_like(zero)
        seen = [loss, contrastive, pretext, accuracy, *ordering, one]
        self.meters += torch.stack(seen).detach()
        return loss

    def configure_optimizers(self) -> Any:  # noqa: ANN401 (Lightning's own type is a union of ten)
        """AdamW or SGD with a linear warm-up and a cosine decay, per step."""
        from lightly.utils.scheduler import CosineWarmupScheduler

        trained = [p for p in self.parameters() if p.requires_grad]
        given: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        optimizer: torch.optim.Optimizer = (
            torch.optim.SGD(trained, momentum=SGD_MOMENTUM, **given)
            if self.optimiser == "sgd"
            else torch.optim.AdamW(trained, fused=True, **given)
        )
        warmup_steps = round(self.warmup * self.total_steps)
        schedule = CosineWarmupScheduler(optimizer, warmup_steps, self.total_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        """Move a batch; it is not a tensor, so Lightning asks us."""
        return batch.to(device)

    def read_meters(self) -> dict[str, float]:
        """Return the means over all processes since the last call, and start anew."""
        means = self._means(ranks.average_(self.meters))
        self.meters.zero_()
        self.checked.zero_()
        return means

    def check_loss(self, step: int) -> None:
        """Look at the losses since the last check, in all processes.

        Raises:
            TrainingError: If they are not finite, or have diverged.
        """
        since = ranks.average_(self.meters) - self.checked
        self.checked.copy_(self.meters)
        if since[-1]:
            steps = f"steps {step - int(since[-1]) + 1} to {step}"
            require_sane_loss(self._means(since), queue_size=len(self.queue.keys), steps=steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note how many processes there were."""
        checkpoint["processes"] = ranks.world()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say so if there were more or fewer processes."""
        before, now = checkpoint.get("processes", 1), ranks.world()
        if before != now:
            print(
                f"{before} processes before, {now} now: the same galaxies and global batch, but "
                f"other draws and batch-norm parts; not bit for bit the run it would have been"
            )

    def _means(self, sums: Tensor) -> dict[str, float]:
        *totals, count = sums.tolist()
        return {
            name: total / max(count, 1)
            for name, total in zip(self.meter_names, totals, strict=True)
        }

    def _view(self, batch: TrainingBatch, which: int) -> Tensor:
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
    def _keys(self, batch: TrainingBatch) -> Tensor:
        from lightly.models.utils import update_momentum
        from lightly.utils.scheduler import cosine_schedule

        momentum = cosine_schedule(self.global_step, self.total_steps, *self.momentum)
        update_momentum(self.encoder, self.key_encoder, m=momentum)
        update_momentum(self.projector, self.key_projector, m=momentum)
        view = self._view(batch, 1)
        draws = generator(self.seed, self.global_step, 0, 3)
        order = torch.randperm(ranks.world() * len(view), generator=draws)
        features = self.key_encoder(ranks.dealt(view, order))
        keys = F.normalize(self.key_projector(features).float(), dim=1)
        return ranks.dealt_back(keys, order)


def _frozen_twin(module: nn.Module) -> nn.Module:
    twin = copy.deepcopy(module)
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin
