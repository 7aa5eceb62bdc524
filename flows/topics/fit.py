"""Find topics: groups of texts that are alike, the words that tell them apart, and how sure each is.

k-means on vectors of length 1, so that what counts is the angle (Dhillon and Modha, "Concept decompositions for large
sparse text data", Machine Learning 42, 2001). How many topics there are is not found: people say it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, jaccard_score, silhouette_score

from flows.errors import TidemarkError
from flows.topics.vectors import LEAST_TEXTS, Counted, Vectors, of_length_1

# Fits of which the best is taken; fits of half of the texts by which it is judged.
BEGINNINGS, REFITS = 10, 5
KEYWORDS, LIFT = 8, 2
# Texts by which a number of topics is judged, drawn from all: what compares each with each other.
COMPARED = 2_000
# Of no weight beyond: a cosine that is larger by a hundredth makes a topic 20,000 times as likely.
SHARPEST = 1_000.0


@dataclass(frozen=True)
class Topics:
    """The directions of topics, a row of length 1 each, numbered by their rows.

    ``sharpness`` turns cosines into weights. Of each topic: ``texts_counts`` is how many texts it was found in,
    ``stability`` how much of it other fits find, from 0 to 1, ``keywords`` the words that tell it from the others.
    """

    directions: Vectors
    sharpness: float
    texts_counts: list[int]
    stability: list[float]
    keywords: list[list[str]]

    def weights(self, vectors: Vectors) -> NDArray[np.float32]:
        """How likely each text (a row) is of each topic (a column); zeros for a vector of zeros."""
        says_something = np.any(vectors != 0, axis=1, keepdims=True)
        return np.where(says_something, _weights(vectors @ self.directions.T, self.sharpness), np.float32(0))


@dataclass(frozen=True)
class Choice:
    """What a number of topics would give.

    ``agreement`` is how alike fits from other beginnings are (adjusted Rand index: 1 for the same, 0 for chance),
    ``separation`` how much nearer texts are to their topic than to the next (mean silhouette, -1 to 1), ``smallest``
    the share of texts in the smallest topic.
    """

    topics_count: int
    agreement: float
    separation: float
    smallest: float


def fit_topics(counted: Counted, vectors: Vectors, topics_count: int) -> Topics:
    """So many topics in texts, given their words and vectors. The same texts give the same topics.

    Raises :class:`~flows.errors.TidemarkError` where there are too few texts.
    """
    known = vectors[np.any(vectors != 0, axis=1)]
    if len(known) < LEAST_TEXTS * topics_count:
        raise TidemarkError(
            f"{len(known):,} texts say something; {topics_count} topics need {LEAST_TEXTS * topics_count:,}: land more "
            "texts, or ask for fewer topics in seeds/topic_settings.csv"
        )
    found = _clusters(known, topics_count, seed=0, beginnings=BEGINNINGS)
    directions = of_length_1(found.cluster_centers_.astype(np.float32))
    cosines = known @ directions.T
    nearest = cosines.argmax(axis=1)
    same, stability = _found_again(known, directions, nearest)
    all_nearest = np.where(np.any(vectors != 0, axis=1), (vectors @ directions.T).argmax(axis=1), -1)
    return Topics(
        directions,
        _sharpness(cosines, same),
        [int(count) for count in np.bincount(nearest, minlength=topics_count)],
        stability,
        _keywords(counted, all_nearest, topics_count),
    )


def choices(vectors: Vectors, counts: Sequence[int]) -> list[Choice]:
    """What numbers of topics would give, by three fits each; those that there are too few texts for are left out."""
    known = vectors[np.any(vectors != 0, axis=1)]
    sample = np.random.default_rng(0).permutation(len(known))[:COMPARED]
    made = []
    for count in counts:
        if len(known) < LEAST_TEXTS * count:
            break
        fits = [_clusters(known, count, seed, beginnings=3).labels_ for seed in range(3)]
        pairs = [(0, 1), (0, 2), (1, 2)]
        agreement = float(np.mean([adjusted_rand_score(fits[one], fits[other]) for one, other in pairs]))
        separation = float(silhouette_score(known[sample], fits[0][sample])) if len(set(fits[0][sample])) > 1 else 0.0
        smallest = float(np.bincount(fits[0], minlength=count).min() / len(known))
        made.append(Choice(count, agreement, separation, smallest))
    return made


def match(old: Vectors, new: Vectors, alike: float) -> list[int | None]:
    """For each row of ``new`` the row of ``old`` that it goes on from: pairs whose cosines add up to most, and only
    those of ``alike`` at least."""
    cosines = new @ old.T
    found: list[int | None] = [None] * len(new)
    for one, other in zip(*linear_sum_assignment(-cosines), strict=True):
        if cosines[one, other] >= alike:
            found[one] = int(other)
    return found


def _clusters(vectors: Vectors, count: int, seed: int, beginnings: int) -> KMeans:
    return KMeans(count, n_init=beginnings, random_state=seed).fit(vectors)


def _found_again(vectors: Vectors, directions: Vectors, nearest: NDArray[np.int64]) -> tuple[float, list[float]]:
    """The share of texts that fits of random halves, from other beginnings, put into the same topic; and for each topic
    how alike the texts are that both put there, as Jaccard's index (Hennig, "Cluster-wise assessment of cluster
    stability", Computational Statistics & Data Analysis 52, 2007)."""
    same, alike = 0, []
    for seed in range(1, REFITS + 1):
        half = np.random.default_rng(seed).permutation(len(vectors))[: max(len(directions), len(vectors) // 2)]
        refit = of_length_1(_clusters(vectors[half], len(directions), seed, beginnings=3).cluster_centers_)
        of_old = match(directions, refit, alike=-1)
        theirs = np.array([-1 if old is None else old for old in of_old])[(vectors @ refit.T).argmax(axis=1)]
        same += int(np.count_nonzero(theirs == nearest))
        topics = range(len(directions))
        alike.append([jaccard_score(nearest == topic, theirs == topic, zero_division=1.0) for topic in topics])
    # Laplace's rule of succession: where all agreed the next may not.
    return (same + 1) / (REFITS * len(vectors) + 2), [round(float(mean), 3) for mean in np.mean(alike, axis=0)]


def _sharpness(cosines: NDArray[np.float32], same: float) -> float:
    """So sharp that the likeliest topics are on average as likely as other fits are to agree."""

    def too_likely(sharpness: float) -> float:
        return float(_weights(cosines, sharpness).max(axis=1).mean()) - same

    if too_likely(0) >= 0:
        return 0.0
    return SHARPEST if too_likely(SHARPEST) <= 0 else float(brentq(too_likely, 0, SHARPEST))


def _weights(cosines: NDArray[np.float32], sharpness: float) -> NDArray[np.float32]:
    raised = np.exp(sharpness * (cosines - cosines.max(axis=1, keepdims=True)))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


def _keywords(counted: Counted, topic_of: NDArray[np.int64], topics_count: int) -> list[list[str]]:
    """The words that tell topics apart, by class-based TF-IDF (Grootendorst, "BERTopic", 2022): how often a word is in
    a topic's texts, weighed by how few it is in elsewhere. Words of fewer than ten texts are none, nor are such that
    the topic's texts do not have twice as often as the others: they are everybody's."""
    words, has = counted.words, counted.has
    in_topic = np.vstack([np.asarray(has[topic_of == topic].sum(axis=0)).ravel() for topic in range(topics_count)])
    of_topic = np.bincount(topic_of[topic_of >= 0], minlength=topics_count)[:, None]
    elsewhere = (in_topic.sum(axis=0) - in_topic) / np.maximum(of_topic.sum() - of_topic, 1)
    is_telling = in_topic / np.maximum(of_topic, 1) >= LIFT * elsewhere
    share = in_topic / np.maximum(in_topic.sum(axis=1, keepdims=True), 1)
    weight = share * np.log(1 + in_topic.sum() / topics_count / np.maximum(in_topic.sum(axis=0), 1)) * is_telling
    best = np.argsort(-weight, axis=1, kind="stable")[:, :KEYWORDS]
    return [[words[word] for word in row if weight[topic, word] > 0] for topic, row in enumerate(best)]
