"""Members of an ensemble leave out a fold each and answer together; modality ablation."""

import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from ssl_photoz import cli
from ssl_photoz.core import artefact
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.cutouts.supervision import central_crops
from ssl_photoz.embeddings.store import Embeddings
from ssl_photoz.training.engine import Engine
from ssl_photoz.training.supervised.artefact import load_network
from ssl_photoz.training.supervised.predict import answer

ROWS = 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """SIMULATED blobs whose colour tells their redshift."""
    folder = tmp_path_factory.mktemp("ensemble")
    rng = np.random.default_rng(0)
    z = rng.uniform(0.03, 0.4, ROWS)
    x = np.arange(36) - 17.5
    blob = np.exp(-(x[:, None] ** 2 + x**2) / 30)
    flux = np.stack([np.full(ROWS, 0.2), 0.8 * z, z], axis=1)[:, :, None, None] * blob
    with h5py.File(folder / "cutouts.h5", "w") as file:
        file["images"] = (flux + rng.normal(0, 0.005, flux.shape)).astype("f4")
        file["NOISE"] = np.full((ROWS, 3), 0.005, "f4")
        file["Z"] = z.astype("f4")
        file["TARGETID"] = np.arange(ROWS)
        file["RA"], file["DEC"] = rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
        file.attrs["simulated"] = True
    return folder


def supervise(folder, out, *changes):
    given = [
        *("network=multimodal", "epochs=2", "least_steps=24", "batch_size=32", "orientations=2"),
        *("head.kind=bins", "head.bins=8", "encoder.crop_px=33", "encoder.modalities.width=4"),
        *(
            "split.nside=32",
            "split.fractions=[0.6,0.2,0.2]",
            "ensemble=3",
            "augmentations.jitter_px=1",
        ),
        *changes,
    ]
    given += [f"data={folder / 'cutouts.h5'}", f"out={folder / out}"]
    assert cli.main(["supervise", *given]) == 0
    metrics = json.loads((folder / out / "metrics.json").read_text())
    return artefact.read_card(folder / out, "probe"), metrics


@pytest.fixture(scope="module")
def ensemble(folder):
    """The ensemble, and the redshifts that each member has seen."""
    seen = {}
    step = Engine.take_step

    def watch(self, batch):
        seen.setdefault(self.folder.name, set()).update(batch.z.tolist())
        return step(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "take_step", watch)
        card, metrics = supervise(folder, "ensemble")
    return card, metrics, seen


def test_each_member_leaves_out_a_fold_of_its_own(ensemble):
    _, metrics, seen = ensemble
    labels = set.union(*seen.values())
    assert len(labels) == metrics["labels"]["train"]
    left_out = [labels - one for one in seen.values()]
    assert set.union(*left_out) == labels
    assert sum(len(one) for one in left_out) == len(labels)
    assert len(seen) == 3


def test_the_answer_is_the_mean_of_the_members_probabilities(folder, ensemble):
    card, metrics, _ = ensemble
    table = pq.read_table(folder / "ensemble" / "predictions.parquet").to_pydict()
    told, shas = metrics["training"], set()
    with Cutouts.open(folder / "cutouts.h5") as cutouts:
        crops = list(central_crops(cutouts, np.array(table["id"]), size_px=33))
    answers, made = [], load_network(folder / "ensemble")
    for number in range(3):
        answers.append(answer(made.members[number], crops, head=made.head, orientations=2))
        shas.add(told["members"][number]["weights_sha256"])
        assert told["members"][number]["parameters"] * 3 == told["parameters"]
    found = np.expm1(made.head.ln_one_plus_z(np.mean(answers, axis=0)))
    np.testing.assert_allclose(found, table["z_phot_multimodal"], atol=1e-6)
    np.testing.assert_allclose(np.expm1(made.predict(crops, orientations=2)), found)
    assert len(shas) == 3
    assert metrics["densities"]["test"]["n"] == len(table["id"])
    assert card["simulated"]
    assert not list((folder / "ensemble").rglob("*.ckpt"))


def test_an_ensemble_cut_short_ends_as_the_whole(folder, ensemble, monkeypatch):
    step = Engine.take_step

    def die(self, batch):
        if self.folder.name == "member-1" and self.progress.step == 18:
            raise RuntimeError("power cut")
        return step(self, batch)

    monkeypatch.setattr(Engine, "take_step", die)
    with pytest.raises(RuntimeError, match="power cut"):
        supervise(folder, "cut")
    monkeypatch.undo()
    _, metrics = supervise(folder, "cut")
    for one, whole in zip(
        metrics["training"]["members"], ensemble[1]["training"]["members"], strict=True
    ):
        assert one["weights_sha256"] == whole["weights_sha256"]


def test_modalities_are_scored_alone_after_modality_dropout(folder):
    _, metrics = supervise(folder, "dropout", "ensemble=1", "encoder.modalities.dropout=0.3")
    said = metrics["training"]["modalities"]
    assert [one["bands"] for one in said] == [["g", "r"], ["r", "z"]]
    # Of two modalities, one alone is all without the other.
    assert said[0]["alone"] == said[1]["without"]
    assert said[0]["alone"] != said[0]["without"]
    _, metrics = supervise(folder, "twin", "ensemble=1", "encoder.modalities.one_branch=true")
    assert "modalities" not in metrics["training"]


def test_modality_dropout_is_refused_where_no_seed_counts_it(folder, capsys):
    given = [f"data={folder / 'cutouts.h5'}", f"out={folder / 'moco'}", "encoder.crop_px=33"]
    given += ["epochs=1", "batch_size=32", "moco.queue_size=32", "encoder.backbone=multimodal"]
    assert cli.main(["pretrain", *given, "encoder.modalities.dropout=0.3"]) == 2
    assert "it is for supervise" in capsys.readouterr().err


def test_branches_pretrained_without_labels_are_read_out_and_fine_tuned(folder):
    data, out = f"data={folder / 'cutouts.h5'}", folder / "pretrained"
    given = ["epochs=1", "batch_size=32", "moco.queue_size=32", "augmentations.jitter_px=1"]
    built = ["encoder.backbone=multimodal", "encoder.modalities.width=4", "encoder.crop_px=33"]
    assert cli.main(["pretrain", data, f"out={out}", *given, *built, "split.nside=32"]) == 0
    told = [data, f"encoder={out}", f"out={folder / 'vectors'}", "readout.orientations=1"]
    assert cli.main(["embed", *told]) == 0
    assert len(Embeddings.open(folder / "vectors")) == ROWS
    _, metrics = supervise(folder, "tuned", f"start={out}", "ensemble=1", "epochs=1")
    assert "fine_tuned" in metrics["probes"]
    tuned = load_network(folder / "tuned")
    assert tuned.card.plan["arguments"]["modalities"]["width"] == 4
    assert tuned.members[0].trunk.backbone.modalities == ((0, 1), (1, 2))
