"""Make an encoder of ours from a checkpoint of another project, without running what is in it.

    ssl-photoz adopt configs/adopt.yaml checkpoint=last.ckpt out=runs/adopted

Known: the MoCo v2 checkpoints of ssl-legacysurvey (Lightning, ResNet-18 and ResNet-50). The encoder
works wherever one that was trained here does; its card says where it is from.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from ssl_photoz.core import artefact
from ssl_photoz.cutouts.split import SplitConfig


@dataclass(frozen=True)
class Settings:
    """Settings of adopt.

    Attributes:
        checkpoint: Lightning checkpoint (.ckpt) of ssl-legacysurvey.
        out: Encoder folder to write.
        split: The sky split that later steps keep to; the checkpoint has seen no redshift.
    """

    checkpoint: Path
    out: Path
    split: SplitConfig = field(default_factory=SplitConfig)


def main(settings: Settings) -> None:
    """Adopt, or say that it has been done."""
    from ssl_photoz.encoders.artefact import save_encoder
    from ssl_photoz.encoders.legacysurvey_import import import_legacysurvey

    encoder, facts = import_legacysurvey(settings.checkpoint)
    parents = {"checkpoint": artefact.sha256_of(settings.checkpoint)}
    ignore = ("checkpoint", "out")
    if not artefact.begin(settings.out, "encoder", config=settings, parents=parents, ignore=ignore):
        return print(f"{settings.out} is already made")
    save_encoder(
        settings.out,
        encoder,
        config=settings,
        parents=parents,
        simulated=False,
        split=asdict(settings.split),
        steps=facts.get("global_step"),
        adopted={"project": "ssl-legacysurvey", **facts},
    )
    built = encoder.description
    print(
        f"{built['backbone']} of ssl-legacysurvey, {encoder.width} features, {built['crop_px']} px"
    )
    print(
        f"encoder -> {settings.out}; their representations: embed with readout.stages=last "
        f"readout.orientations=1"
    )
