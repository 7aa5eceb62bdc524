"""A fit of a dataset's topics as it is kept: numbers in ``topics.npz``, all else in ``topics.json``; nothing that runs.

Of the texts it has words alone that ten of them have, in ``<home>/topics/<dataset>/<when it was fitted>/``.
"""

import json
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flows.errors import TidemarkError
from flows.files import sync_file, sync_folder
from flows.locks import held
from flows.rights import made_private, make_private
from flows.settings import Settings
from flows.topics.fit import Topics
from flows.topics.vectors import WORDS, Embedder, Words, language_model

FOLDER = "topics"
KEPT = 3
_VERSION = "%Y%m%dT%H%M%S%fZ"


@dataclass(frozen=True)
class Model:
    """What makes vectors of texts, the topics in them, and the number that each keeps from fit to fit, from 1 on.

    ``last_number`` is the highest that was ever given: none is given twice. ``mark`` stands for the texts and what was
    declared: the same give the same topics.
    """

    fitted_at: datetime
    embedder: Embedder
    topics: Topics
    numbers: list[int]
    last_number: int
    mark: str

    @property
    def version(self) -> str:
        """Its name among the fits of its dataset."""
        return f"{self.fitted_at:{_VERSION}}"


def folder_of(settings: Settings, dataset: str) -> Path:
    """Where the fits of a dataset are kept."""
    return settings.home / FOLDER / dataset


def save(settings: Settings, dataset: str, model: Model) -> None:
    """Keep a fit beside those before it, whole or not at all; the oldest but three go."""
    folder = folder_of(settings, dataset)
    make_private(settings.home, FOLDER, dataset)
    for left in folder.glob(".*.partial"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    partial = folder / f".{model.version}.partial"
    make_private(partial)
    arrays: dict[str, Any] = {"directions": model.topics.directions}
    said = {
        "fitted_at": model.fitted_at.isoformat(),
        "vectors": model.embedder.kind,
        "numbers": model.numbers,
        "last_number": model.last_number,
        "mark": model.mark,
        "sharpness": model.topics.sharpness,
        "texts_counts": model.topics.texts_counts,
        "stability": model.topics.stability,
        "keywords": model.topics.keywords,
    }
    if isinstance(model.embedder, Words):
        arrays |= {"weights": model.embedder.weights, "word_directions": model.embedder.directions}
        said["words"] = model.embedder.words
    with made_private():
        np.savez(partial / "topics.npz", **arrays)
        (partial / "topics.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
    for name in ("topics.npz", "topics.json"):
        sync_file(partial / name)
    partial.rename(folder / model.version)
    sync_folder(folder)
    for old in _versions(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def load(settings: Settings, dataset: str) -> Model | None:
    """The newest fit of a dataset; None where there is none.

    Raises :class:`~flows.errors.TidemarkError` where it is damaged, or needs a package that is not installed.
    """
    versions = _versions(folder_of(settings, dataset))
    if not versions:
        return None
    path = versions[-1]
    try:
        said = json.loads((path / "topics.json").read_text(encoding="utf-8"))
        with np.load(path / "topics.npz", allow_pickle=False) as arrays:
            words = Words(said["words"], arrays["weights"], arrays["word_directions"]) if "words" in said else None
            topics = Topics(
                arrays["directions"], said["sharpness"], said["texts_counts"], said["stability"], said["keywords"]
            )
        fitted_at, kind = datetime.fromisoformat(said["fitted_at"]), said["vectors"]
        numbers, last, mark = said["numbers"], said["last_number"], said["mark"]
    except Exception as error:
        raise TidemarkError(
            f"{path} is damaged ({error}); remove that folder, and the fit before it counts, or run `tidemark topics "
            f"fit {dataset}`"
        ) from error
    if (words is None) == (kind == WORDS):
        raise TidemarkError(f"{path} is damaged (its vectors are {kind}); run `tidemark topics fit {dataset}`")
    return Model(fitted_at.astimezone(UTC), words or language_model(kind), topics, numbers, last, mark)


def load_or_say(settings: Settings, dataset: str) -> Model:
    """The newest fit of a dataset; a :class:`~flows.errors.TidemarkError` says what to do where there is none."""
    model = load(settings, dataset)
    if model is None:
        raise TidemarkError(f"no topics of {dataset} were found yet; run `tidemark topics fit {dataset}`")
    return model


def alone(settings: Settings, work: str) -> AbstractContextManager[None]:
    """Hold what one process at a time may do with fits, once nobody else does."""
    make_private(settings.home, FOLDER)
    return held(settings.home / FOLDER / ".lock", work)


def _versions(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("2*Z") if path.is_dir())
