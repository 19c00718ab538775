"""The page that goes with a shared encoder: what it may be fed, and what it has learnt from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def model_card(card: Mapping[str, Any], *, repo_id: str, license: str) -> str:
    """Write the page of an encoder, in Markdown.

    Args:
        card: Of the encoder artefact.
        repo_id: Where it is shared.
        license: Of the weights, by the hub's name for it.
    """
    rows = "\n".join(f"| {name} | {text} |" for name, text in _facts(card).items() if text)
    warnings = "".join(f"**{line}**\n\n" for line in _warnings(card))
    return PAGE.format(repo_id=repo_id, license=license, rows=rows, warnings=warnings)


def _warnings(card: Mapping[str, Any]) -> list[str]:
    said = []
    if card.get("simulated"):
        said.append("Trained on SIMULATED galaxies.")
    if seen := card.get("labels_seen"):
        said.append(
            f"Has learnt from the redshifts of {len(seen)} galaxies, listed in `card.json`: do not "
            f"score redshifts on them."
        )
    return said


def _facts(card: Mapping[str, Any]) -> dict[str, str]:
    built, config = card["encoder"], card.get("config", {})
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
        "training": f"{config.get('epochs', '?')} epochs, {card.get('steps', '?')} steps of "
        f"{config.get('batch_size', '?')} cutouts, seed {config.get('seed', '?')}",
        "losses": f"contrast {losses['contrast_weight']:g}, pretext {losses['pretext_weight']:g}, "
        f"temperature {losses['temperature']:g}"
        if losses
        else "",
        "sky split": ", ".join(f"{name} {value}" for name, value in card.get("split", {}).items()),
        "made by": f"{card['made_by']}, commit {card.get('revision')}",
    }


def _sample(card: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    kind = "simulated" if card.get("simulated") else "real"
    name = str(config.get("data", "?")).rsplit("/", 1)[-1]
    checksum = str(card.get("parents", {}).get("cutouts", ""))[:12]
    rejected = card.get("rows_rejected", "?")
    return f"{name} ({kind}; fingerprint {checksum}; {rejected} rows rejected)"
