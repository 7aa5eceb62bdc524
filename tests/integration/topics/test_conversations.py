"""Real conversations of six domains: topics find the domains, in texts from which people were taken out first."""

from importlib.util import find_spec

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from benchmarks import topics as measured
from flows.topics.fit import fit_topics
from flows.topics.vectors import ENGLISH, MULTILINGUAL, WORDS, embedder_of


@pytest.fixture(scope="module")
def conversations() -> tuple[list[str], list[str]]:
    """Texts, redacted, and the domain of each."""
    if not measured.FOLDER.exists():
        pytest.skip("the conversations are not here: TIDEMARK_REAL_DATA does not name their folder")
    return measured.conversations()


@pytest.mark.parametrize(("kind", "least"), [(WORDS, 0.65), (ENGLISH, 0.72), (MULTILINGUAL, 0.72)])
def test_topics_find_the_domains(kind: str, least: float, conversations: tuple[list[str], list[str]]) -> None:
    if not find_spec(measured.PACKAGES[kind]):
        pytest.skip(f"the package {measured.PACKAGES[kind]} is not installed: make vectors")
    texts, domains = conversations
    vectors = embedder_of(kind, texts).embed(texts)
    topics = fit_topics(texts, vectors, 6)
    nearest = topics.weights(vectors).argmax(axis=1)
    assert normalized_mutual_info_score(domains, nearest) >= least
    # Without a model, topics of short answers ("thanks", "yes") are not found again, and say so.
    assert np.mean(topics.stability) >= (0.65 if kind == WORDS else 0.8)
