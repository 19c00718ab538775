"""Share encoders through a Hugging Face hub: weights, card, and a page that says what they are.

Only safetensors and JSON are fetched, and both are checked as every encoder is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_photoz.core import extras
from ssl_photoz.core.types import PathLike
from ssl_photoz.encoders.artefact import WEIGHTS, load_encoder
from ssl_photoz.encoders.encoder import Encoder, EncoderCard

if TYPE_CHECKING:
    import torch

FILES = ("card.json", WEIGHTS)


PAGE = """\
---
library_name: ssl_photoz
license: {license}
tags: [astronomy, galaxies, self-supervised-learning, photometric-redshifts]
---

# {repo_id}

{warnings}Encoder of galaxy cutouts, pretrained by ssl_photoz. Frozen, its features feed redshift
probes and similarity search.

| | |
|---|---|
{rows}

    from ssl_photoz.encoders.hub import from_pretrained
    encoder = from_pretrained("{repo_id}")

Cutouts of other bands, pixel scale or calibration are refused when the encoder is applied.
All else that is known of it, its settings and the checksum of its data, is in `card.json`.
"""


def push_to_hub(
    folder: PathLike,
    repo_id: str,
    *,
    license: str = "other",
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload an encoder; the repository is made if it is not there.

    The card goes up as it is, with the paths that its settings name.

    Args:
        folder: The encoder artefact.
        repo_id: Repository, such as ``survey-group/moco-dr11``.
        license: License of the weights, by the hub's name for it, such as ``cc-by-4.0``.
        private: Whether a new repository is private.
        token: Token of the hub; the one that was logged in with by default.
        endpoint: Address of the hub; the public one by default.

    Returns:
        The address of the commit.

    Raises:
        ArtefactError: If the folder holds no whole encoder.
        ConfigError: If huggingface_hub is not installed.
    """
    folder = Path(folder)
    card = load_encoder(folder).card
    extras.require("hub", "the hub")
    from huggingface_hub import CommitOperationAdd, HfApi

    page = model_card(card, repo_id=repo_id, license=license)
    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(repo_id, private=private, exist_ok=True)
    files = [
        CommitOperationAdd("README.md", page.encode()),
        *(CommitOperationAdd(name, str(folder / name)) for name in FILES),
    ]
    done = api.create_commit(repo_id, files, commit_message=f"Encoder by {card['made_by']}")
    return str(done.commit_url)


def from_pretrained(
    repo_id: str,
    *,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    cache: PathLike | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Encoder:
    """Fetch an encoder, or take it from the cache, in evaluation mode.

    Args:
        repo_id: Repository, such as ``survey-group/moco-dr11``.
        revision: Branch, tag or commit; name a commit for work that has to be repeatable.
        device: Device to put it on.
        cache: Folder of the cache; the hub's own by default.
        token: Token of the hub, for private repositories.
        endpoint: Address of the hub; the public one by default.

    Returns:
        The encoder.

    Raises:
        ArtefactError: If what is there is not a whole encoder.
        ConfigError: If huggingface_hub is not installed.
    """
    extras.require("hub", "the hub")
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        repo_id,
        revision=revision,
        allow_patterns=list(FILES),
        cache_dir=cache,
        token=token,
        endpoint=endpoint,
    )
    return load_encoder(Path(folder), device=device)


def model_card(card: EncoderCard, *, repo_id: str, license: str) -> str:
    """Write the page of an encoder, in Markdown.

    Args:
        card: Card of the encoder.
        repo_id: Repository where it is shared.
        license: License of the weights, by the hub's name for it.
    """
    rows = "\n".join(f"| {name} | {text} |" for name, text in _facts(card).items() if text)
    warnings = "".join(f"**{line}**\n\n" for line in _warnings(card))
    return PAGE.format(repo_id=repo_id, license=license, rows=rows, warnings=warnings)


def _warnings(card: EncoderCard) -> list[str]:
    said = []
    if card.simulated:
        said.append("Trained on SIMULATED galaxies.")
    if seen := card.labels_seen:
        said.append(
            f"Has learnt from the redshifts of {len(seen)} galaxies, listed in `card.json`: do not "
            f"score redshifts on them."
        )
    return said


def _facts(card: EncoderCard) -> dict[str, str]:
    built, config = card["encoder"], card.config
    training = config.get("training", config)  # version 0.1 had no such group
    unit = "nmgy/px" if built["calibrated"] else "display units (0 to 1)"
    stretch = "asinh(flux / softening)" if built["calibrated"] else "value / softening"
    if built.get("stretch") == "viewer_slip":
        stretch = "viewer_slip (ssl-legacysurvey's colour stretch, its operator slip included)"
    softening = ", ".join(f"{value:.4g}" for value in built["softening"])
    side_arcsec = built["crop_px"] * built["pixscale_arcsec"]
    losses = config.get("moco", {})
    return {
        "network": f"{built['backbone']}, {built['stem']} stem",
        "bands": ", ".join(built["bands"]),
        "pixel scale": f"{built['pixscale_arcsec']:g} arcsec/px",
        "crop": f"{built['crop_px']} px ({side_arcsec:.1f} arcsec)",
        "input": unit,
        "stretch": f"{stretch}, softening {softening} {unit}",
        "training sample": _sample(card, config),
        "training": f"{training.get('epochs', '?')} epochs, {card.get('steps', '?')} steps of "
        f"{training.get('batch_size', '?')} cutouts, seed {training.get('seed', '?')}",
        "losses": f"contrast {losses['contrast_weight']:g}, pretext {losses['pretext_weight']:g}, "
        f"temperature {losses['temperature']:g}"
        if losses
        else "",
        "sky split": ", ".join(f"{name} {value}" for name, value in card.split.items()),
        "made by": f"{card['made_by']}, commit {card.get('revision')}",
    }


def _sample(card: EncoderCard, config: Mapping[str, Any]) -> str:
    kind = "simulated" if card.simulated else "real"
    name = str(config.get("data", "?")).rsplit("/", 1)[-1]
    checksum = str(card.parents.get("cutouts", ""))[:12]
    rejected = card.get("rows_rejected", "?")
    return f"{name} ({kind}; fingerprint {checksum}; {rejected} rows rejected)"
