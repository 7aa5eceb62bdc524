"""Real conversations of six domains: topics find the domains, in texts from which people were taken out first."""

import numpy as np
import pytest
from sklearn.metrics import normalized_mutual_info_score

from benchmarks import topics as measured
from flows.topics.fit import fit_topics
from flows.topics.vectors import ENGLISH, MULTILINGUAL, WORDS, count_words, embedder_of


@pytest.fixture(scope="module")
def conversations() -> tuple[list[str], list[str]]:
    """Texts, redacted, and the domain of each."""
    if not measured.FOLDER.exists():
        pytest.skip("the conversations are not here: TIDEMARK_REAL_DATA does not name their folder")
    return measured.conversations()


@pytest.mark.parametrize(("kind", "least"), [(WORDS, 0.65), (ENGLISH, 0.72), (MULTILINGUAL, 0.72)])
def test_topics_find_the_domains(kind: str, least: float, conversations: tuple[list[str], list[str]]) -> None:
    texts, domains = conversations
    counted = count_words(texts)
    vectors = embedder_of(kind, counted).embed(texts)
    topics = fit_topics(counted, vectors, 6)
    nearest = topics.weights(vectors).argmax(axis=1)
    assert normalized_mutual_info_score(domains, nearest) >= least
    # Topics of short answers ("thanks", "yes") are hardly found again, and say so.
    assert np.mean(topics.stability) >= 0.65
