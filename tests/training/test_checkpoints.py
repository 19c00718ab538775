import zipfile

import pytest
import torch

from ssl_photoz.core.artefact import OPENING
from ssl_photoz.core.errors import ArtefactError
from ssl_photoz.training.checkpoints import (
    checkpoint_path,
    forget_checkpoints,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)


def write(folder, step):
    weights = torch.arange(2000, dtype=torch.float32) + step
    write_checkpoint(checkpoint_path(folder, step), {"global_step": step, "weights": weights})
    return checkpoint_path(folder, step)


def torn(share):
    return lambda content: content[: int(share * len(content))]


def flipped(share):
    def flip(content):
        at = min(int(share * len(content)), len(content) - 1)
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return flip


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    state = read_checkpoint(write(tmp_path, 7))
    assert state["global_step"] == 7
    assert torch.equal(state["weights"], torch.arange(2000) + 7.0)
    assert latest_checkpoint(tmp_path) == (checkpoint_path(tmp_path, 7), 7)
    assert latest_checkpoint(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    "damage",
    [
        *[torn(share) for share in (0, 0.005, 0.5, 0.9999)],
        *[flipped(share) for share in (0, 0.005, 0.3, 0.6, 1)],
    ],
)
def test_a_damaged_checkpoint_is_passed_over_aloud(tmp_path, capsys, damage):
    good, bad = write(tmp_path, 2), write(tmp_path, 4)
    bad.write_bytes(damage(bad.read_bytes()))
    assert latest_checkpoint(tmp_path) == (good, 2)
    assert f"passing over damaged checkpoint {bad}" in capsys.readouterr().out
    good.write_bytes(damage(good.read_bytes()))
    with pytest.raises(ArtefactError, match=r"no checkpoint in .* is whole"):
        latest_checkpoint(tmp_path)


def test_torch_alone_would_not_notice_a_flipped_bit(tmp_path):
    """Why there is a checksum at all: the archive's own is not looked at."""
    archive = write(tmp_path, 3).read_bytes()[len(OPENING) + 65 :]
    path = tmp_path / "plain.pt"
    path.write_bytes(archive)
    with zipfile.ZipFile(path) as members:
        data = next(name for name in members.namelist() if name.endswith("data/0"))
        first = archive.index(members.read(data))
    path.write_bytes(flipped((first + 4002) / len(archive))(archive))
    state = torch.load(path, weights_only=True)
    assert not torch.equal(state["weights"], torch.arange(2000) + 3.0)


def test_the_newest_two_are_kept(tmp_path):
    for step in (9, 10, 100):
        write(tmp_path, step)
    forget_checkpoints(tmp_path)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["step-000000010.ckpt", "step-000000100.ckpt"]
    forget_checkpoints(tmp_path, keep=0)
    assert not list(tmp_path.iterdir())
