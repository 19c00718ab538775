"""An encoder in ONNX answers as it does here."""

import json
import sys

import numpy as np
import pytest
import torch

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.encoder import fresh_encoder
from ssl_photoz.encoders.readout import Conditions, read_out
from ssl_photoz.encoders.settings import EncoderConfig, MeasurementConfig, ReadOutConfig, plain

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

ROWS = 5


def made(config, **about):
    about = {"bands": "grz", "pixscale_arcsec": 0.262, "calibrated": True, **about}
    encoder = fresh_encoder(config, noise=[0.01, 0.02, 0.03], seed=3, **about)
    return encoder.eval()


def given(encoder):
    draws = np.random.default_rng(0)
    rows, bands = (ROWS, encoder.input_shape[0])
    x_px = np.arange(33) - 16
    profile = np.exp(-(x_px**2 + 2 * x_px[:, None] ** 2) / draws.uniform(8, 90, (rows, 1, 1, 1)))
    brightness = 10 ** draws.uniform(-1.5, 0.5, (rows, bands, 1, 1))
    known = {
        "flux": brightness * profile + draws.normal(0, 0.02, (rows, bands, 33, 33)),
        "ebv_mag": np.array([0.0, 0.1, 0.02, np.nan, 0.3]),
        "psf_fwhm_arcsec": draws.uniform(1.0, 1.6, (rows, bands)),
        "noise": draws.uniform(0.01, 0.03, (rows, bands)),
    }
    known["psf_fwhm_arcsec"][1] = known["noise"][2] = np.nan
    return {name: values.astype(np.float32) for name, values in known.items()}


@pytest.mark.slow
def test_the_graph_corrects_measures_and_turns_as_the_encoder_does(tmp_path):
    few = MeasurementConfig(windows=4, scales_px=(1.0, 2.0))
    encoder = made(
        EncoderConfig(crop_px=33, measurements=few, learnt_dim=4), extinction_corrected=True
    )
    inputs = given(encoder)
    known = {name: torch.from_numpy(inputs[name]) for name in ("psf_fwhm_arcsec", "noise")}
    measured = encoder.measurements.measure(torch.from_numpy(inputs["flux"]), **known)
    encoder.measurements.standardise_by(measured)
    config = ReadOutConfig(orientations=2)
    path = encoder.to_onnx(tmp_path / "encoder.onnx", config)
    session = onnxruntime.InferenceSession(path)
    (found,) = session.run(None, inputs)

    r_band = np.array([3.214, 2.165, 1.211])  # of the Legacy Surveys, per E(B-V)
    gain = 10 ** (0.4 * np.nan_to_num(inputs["ebv_mag"])[:, None] * r_band)
    flux = torch.from_numpy((inputs["flux"] * gain[:, :, None, None]).astype(np.float32))
    noise = torch.from_numpy((inputs["noise"] * gain).astype(np.float32))
    psf = torch.from_numpy(inputs["psf_fwhm_arcsec"])
    with torch.no_grad():
        expected = read_out(encoder, flux, config, Conditions(psf[:, 0], psf, noise))
    assert found.shape == expected.shape == (ROWS, sum(encoder.blocks().values()))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)
    assert expected.std(dim=0).min() > 0  # every number says something

    said = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert said["blocks"] == encoder.blocks()
    assert (said["bands"], said["crop_px"]) == (["g", "r", "z"], 33)
    assert said["extinction_corrected"] is True
    assert said["orientations"] == 2
    one = {name: values[:1] for name, values in inputs.items()}
    np.testing.assert_allclose(session.run(None, one)[0], expected.numpy()[:1], atol=1e-4)


@pytest.mark.slow
def test_pictures_and_all_stages_of_a_plain_encoder(tmp_path):
    encoder = made(plain(crop_px=33), calibrated=False)
    config = ReadOutConfig("all", orientations=1)
    session = onnxruntime.InferenceSession(encoder.to_onnx(tmp_path / "plain.onnx", config))
    inputs = given(encoder)
    with torch.no_grad():
        expected = read_out(encoder, torch.from_numpy(inputs["flux"]), config)
    kept = {some.name for some in session.get_inputs()}
    (found,) = session.run(None, {name: inputs[name] for name in kept})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_what_cannot_be_written_is_refused_before_the_export(tmp_path, monkeypatch):
    encoder = made(plain(crop_px=33))
    with pytest.raises(ConfigError, match="has neither"):
        encoder.to_onnx(tmp_path / "a.onnx", ReadOutConfig("learnt"))
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        encoder.to_onnx(tmp_path / "folder.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"pip install 'ssl-photoz\[onnx\]'"):
        encoder.to_onnx(tmp_path / "b.onnx")
