"""Texts as vectors of length 1 whose cosines say how alike the texts are.

``words`` needs no model: which words a text has, weighed by how few texts have them, in the 30 directions that explain
most of it (latent semantic analysis; Deerwester et al., "Indexing by latent semantic analysis", JASIS 41, 1990).
``english`` and ``multilingual`` are small language models, extras that are installed with ``make vectors``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from flows.errors import TidemarkError
from flows.land.redaction.folding import PLACEHOLDER

Vectors = NDArray[np.float32]

WORDS, ENGLISH, MULTILINGUAL = "words", "english", "multilingual"
KINDS = (WORDS, ENGLISH, MULTILINGUAL)
# A word that fewer texts have may be a name; one that more have tells nothing.
LEAST_TEXTS = 10
LARGEST_SHARE = 0.4
DIRECTIONS = 30
WORD = r"(?u)\b[^\W\d_]{2,}\b"


class Embedder(Protocol):
    """Makes vectors of texts: a row of length 1 for each, all zeros where a text says nothing that it knows."""

    @property
    def kind(self) -> str:
        """One of KINDS."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts."""
        ...


def plain(text: str) -> str:
    """A text without what stands in it for names, numbers and addresses."""
    return PLACEHOLDER.sub(" ", text)


@dataclass(frozen=True)
class Counted:
    """The words of texts that may be shown, and which text (a row) has which word (a column), as a sparse matrix."""

    words: list[str]
    has: Any

    @property
    def texts_with(self) -> NDArray[np.int64]:
        """In how many texts each word is."""
        return np.asarray(self.has.sum(axis=0)).ravel()


def count_words(texts: Sequence[str]) -> Counted:
    """The words of texts that enough of them have, and not nearly all.

    Raises :class:`~flows.errors.TidemarkError` where there are none.
    """
    share = max(LARGEST_SHARE, LEAST_TEXTS / max(len(texts), 1))
    counter = _counter(min_df=LEAST_TEXTS, max_df=share)
    try:
        has = counter.fit_transform(texts)
    except ValueError as error:
        raise TidemarkError(
            f"no word occurs in {LEAST_TEXTS} texts or more and in at most {LARGEST_SHARE:.0%} of them; more texts are "
            "needed, or such as differ"
        ) from error
    return Counted(list(counter.get_feature_names_out()), has)


def _counter(**more: Any) -> CountVectorizer:
    """Which words a text has, not how often."""
    return CountVectorizer(preprocessor=lambda text: plain(text).lower(), token_pattern=WORD, binary=True, **more)


@dataclass(frozen=True)
class Words:
    """Vectors by the words that texts have: ``weights`` one each, ``directions`` a column each."""

    words: list[str]
    weights: NDArray[np.float32]
    directions: NDArray[np.float32]
    kind: str = WORDS

    @classmethod
    def fit(cls, counted: Counted) -> "Words":
        """Words, weights and directions of texts whose words were counted."""
        texts_count = counted.has.shape[0]
        weights = (np.log((1 + texts_count) / (1 + counted.texts_with)) + 1).astype(np.float32)
        directions = min(DIRECTIONS, len(counted.words), texts_count - 1)
        svd = TruncatedSVD(directions, random_state=0).fit(normalize(counted.has @ diags_array(weights)))
        return cls(counted.words, weights, svd.components_.astype(np.float32))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts; of one that has no known word all zeros."""
        has = _counter(vocabulary=self.words).transform(texts)
        weighed = normalize(has @ diags_array(self.weights))
        return of_length_1(weighed @ self.directions.T)


def of_length_1(vectors: NDArray[np.float32]) -> Vectors:
    """Vectors divided by their lengths; those without any stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 1e-9, lengths, 1)).astype(np.float32)


def embedder_of(kind: str, counted: Counted) -> Embedder:
    """What makes vectors of a kind; for ``words`` it is fitted to the texts whose words were counted."""
    return Words.fit(counted) if kind == WORDS else language_model(kind)


def language_model(kind: str) -> Embedder:
    """A language model, whose weights are in a package. Raises :class:`TidemarkError` where it is not installed."""
    try:
        if kind == ENGLISH:
            from flows.topics.minilm import MiniLm  # noqa: PLC0415 (its package is an extra)

            return MiniLm.load()
        from flows.topics.e5 import MultilingualE5  # noqa: PLC0415 (its package is an extra)

        return MultilingualE5.load()
    except ImportError as error:
        raise TidemarkError(
            f"vectors of the kind {kind} need packages that are not installed; run `make vectors`, or write `{WORDS}` "
            "in seeds/topic_settings.csv"
        ) from error
