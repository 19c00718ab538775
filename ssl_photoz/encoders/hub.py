"""Share encoders through a Hugging Face hub: weights, card, and a page that says what they are.

Only safetensors and JSON are fetched, and both are checked as every encoder is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ssl_photoz.core.errors import ConfigError
from ssl_photoz.encoders.artefact import WEIGHTS, load_encoder
from ssl_photoz.encoders.model_card import model_card

if TYPE_CHECKING:
    import torch

    from ssl_photoz.encoders.encoder import Encoder

FILES = ("card.json", WEIGHTS)


def push_to_hub(
    folder: Path,
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
        repo_id: Such as ``survey-group/moco-dr11``.
        license: Of the weights, by the hub's name for it, such as ``cc-by-4.0``.
        private: Whether a new repository is.
        token: Of the hub; the one that was logged in with by default.
        endpoint: Address of the hub; the public one by default.

    Returns:
        The address of the commit.

    Raises:
        ArtefactError: If the folder holds no whole encoder.
        ConfigError: If huggingface_hub is not installed.
    """
    card = load_encoder(folder).card
    _require_hub()
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
    cache: Path | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Encoder:
    """Fetch an encoder, or take it from the cache, in evaluation mode.

    Args:
        repo_id: Such as ``survey-group/moco-dr11``.
        revision: Branch, tag or commit; name a commit for work that has to be repeatable.
        device: Where to put it.
        cache: Folder of the cache; the hub's own by default.
        token: Of the hub, for private repositories.
        endpoint: Address of the hub; the public one by default.

    Returns:
        The encoder.

    Raises:
        ArtefactError: If what is there is not a whole encoder.
        ConfigError: If huggingface_hub is not installed.
    """
    _require_hub()
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


def _require_hub() -> None:
    try:
        import huggingface_hub  # noqa: F401
    except ImportError:
        raise ConfigError(
            "huggingface_hub is not installed; pip install 'ssl-photoz[hub]'"
        ) from None
