"""An encoder of ssl-legacysurvey, from its checkpoint to embeddings."""

import h5py
import numpy as np
import torch

from ssl_photoz import cli
from ssl_photoz.embeddings.store import Embeddings
from tests.encoders.legacysurvey_checkpoints import their_checkpoint, their_input, their_network

N = 12


def survey_file(tmp_path):
    """A file in the layout of ssl-legacysurvey: lower-case columns, 152 px, no identifiers."""
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "images.h5", "w") as file:
        images = 0.01 * rng.normal(size=(N, 3, 152, 152)) + 0.02
        file["images"] = images.astype("f4")
        file["ra"], file["dec"] = rng.uniform(0, 360, N), rng.uniform(-30, 30, N)
        file["ebv"], file["z_spec"] = np.full(N, 0.02, "f4"), np.full(N, -99.0, "f4")
        file["flux"] = rng.uniform(1, 9, (N, 3)).astype("f4")
    return tmp_path / "images.h5"


def test_an_adopted_encoder_embeds_as_their_network_does(tmp_path):
    network = their_network()
    checkpoint = their_checkpoint(tmp_path / "last.ckpt", network)
    cli.run("adopt", [f"checkpoint={checkpoint}", f"out={tmp_path / 'encoder'}"])
    cli.run(
        "embed",
        [
            *(
                f"data={survey_file(tmp_path)}",
                f"encoder={tmp_path / 'encoder'}",
                f"out={tmp_path / 'own'}",
            ),
            *("readout.stages=last", "readout.orientations=1"),
        ],
    )
    network.fc = torch.nn.Identity()
    with h5py.File(tmp_path / "images.h5") as file, torch.no_grad():
        crops = file["images"][:4, :, 28:124, 28:124]
        theirs = network(torch.stack([their_input(one) for one in crops])).numpy()
    ours = Embeddings.open(tmp_path / "own").vectors()[:4]
    assert ours.shape == theirs.shape
    # bfloat16 has 8 bits; what is left of the features after it is the same direction.
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() > 0.999
