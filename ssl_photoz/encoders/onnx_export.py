"""An encoder as one ONNX graph: flux in, embeddings out, without this package or torch.

Extinction correction, measurements, network and the mean over orientations are all inside.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ssl_photoz.core import extras
from ssl_photoz.core.artefact import atomic_path
from ssl_photoz.core.extinction import r_band_of
from ssl_photoz.core.version import __version__
from ssl_photoz.core.workplace import require_place
from ssl_photoz.encoders.readout import Conditions, read_out
from ssl_photoz.encoders.settings import ReadOutConfig

if TYPE_CHECKING:
    from ssl_photoz.encoders.encoder import Encoder

OPSET = 18  # the oldest that torch's exporter writes without converting
INPUTS = ("flux", "ebv_mag", "psf_fwhm_arcsec", "noise")


class ReadOut(nn.Module):
    """An encoder and what is read of it, as a function of tensors alone.

    Args:
        encoder: The encoder.
        config: What is read from it.
    """

    r_band: Tensor

    def __init__(self, encoder: Encoder, config: ReadOutConfig) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        corrected = encoder.extinction_corrected
        bands = encoder.description["bands"]
        r_band = r_band_of(bands) if corrected else (0.0,) * len(bands)
        self.register_buffer("r_band", torch.tensor(r_band), persistent=False)

    def forward(
        self, flux: Tensor, ebv_mag: Tensor, psf_fwhm_arcsec: Tensor, noise: Tensor
    ) -> Tensor:
        """Embeddings (B, D) of flux (B, C, crop, crop); NaN stands for what is not known.

        Args:
            flux: Flux as it is observed, in the encoder's unit, shape (B, C, crop, crop).
            ebv_mag: Galactic E(B-V) that dims it, mag, shape (B,); NaN: it is corrected already.
            psf_fwhm_arcsec: Width of the PSF, shape (B, C).
            noise: Standard deviation per pixel, shape (B, C).
        """
        ebv_mag = torch.where(ebv_mag.isnan(), 0.0, ebv_mag)
        gain = 10 ** (0.4 * ebv_mag[:, None] * self.r_band)
        conditions = Conditions(ebv_mag, psf_fwhm_arcsec, noise * gain)
        return read_out(self.encoder, flux * gain[:, :, None, None], self.config, conditions)


def write_onnx(encoder: Encoder, path: Path, config: ReadOutConfig) -> Path:
    """Write an encoder as an ONNX model; see `Encoder.to_onnx`."""
    extras.require("onnx", "writing ONNX")
    require_place(path, folder=False)
    config = ReadOutConfig(encoder.read_out_of(config.stages), config.orientations)
    bands, side = encoder.input_shape[0], encoder.input_shape[-1]
    rows = torch.export.Dim("rows", min=1)
    # Of one tensor given twice the exporter would make one input.
    known = (torch.zeros(2), torch.ones(2, bands), torch.ones(2, bands))
    example = (torch.zeros(2, bands, side, side), *known)
    training, device = encoder.training, next(encoder.parameters()).device
    layout = torch.contiguous_format
    encoder.eval().to("cpu", memory_format=layout)  # type: ignore[call-overload]
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                ReadOut(encoder, config).eval(),
                example,
                input_names=list(INPUTS),
                output_names=["embedding"],
                dynamic_shapes=tuple({0: rows} for _ in INPUTS),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    finally:
        encoder.train(training).to(device)
    assert program is not None
    facts = {
        "made_by": f"ssl_photoz {__version__}",
        "encoder": encoder.sha256,
        "stages": config.stages,
        "orientations": config.orientations,
        "blocks": encoder.blocks(config.stages),
        "simulated": bool(encoder.card.get("simulated", False)),
        **{name: encoder.description[name] for name in ("bands", "pixscale_arcsec", "calibrated")},
        "crop_px": side,
        "extinction_corrected": encoder.extinction_corrected,
    }
    model = program.model_proto
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=json.dumps(value))
    with atomic_path(path) as scratch:
        scratch.write_bytes(model.SerializeToString())
    return path
