"""Find the topics of a dataset's texts, and show them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np

from flows.errors import TidemarkError
from flows.settings import Settings
from flows.topics.declared import Declared, declared_of, read_names
from flows.topics.delivered import deliver_topics, name_of, topic_id
from flows.topics.fit import Choice, Topics, choices, fit_topics, match
from flows.topics.model import Model, alone, load, load_or_say, save
from flows.topics.texts import Texts, TextStore
from flows.topics.vectors import WORDS, Vectors, count_words, embedder_of, of_length_1

# Topics of two fits are the same where the cosine of their directions is at least that.
ALIKE = 0.75
# More texts are not fitted: these are drawn from all. A language model takes a fortieth of a second for each.
MOST_TEXTS, MOST_FOR_LANGUAGE_MODELS = 200_000, 10_000


class Since(StrEnum):
    """How a fit stands to the one before."""

    FIRST = "first"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Fitted:
    """What a fit found: the model, of how many texts it is and of how many days, and which topics are new or gone
    since the one before."""

    declared: Declared
    model: Model
    texts_count: int
    days_count: int
    new: list[int]
    gone: list[int]
    since: Since


@dataclass(frozen=True)
class Shown:
    """A topic as people see it; its name is the one that they gave it, else its first words."""

    number: int
    name: str
    share: float
    stability: float
    keywords: list[str]


def fit(settings: Settings, dataset: str) -> Fitted:
    """Find the topics of a dataset. Those that go on from the fit before keep their numbers.

    Raises :class:`~flows.errors.TidemarkError` where there are too few texts, or one of their files cannot be read.
    """
    declared = declared_of(dataset)
    with alone(settings, f"fit the topics of {dataset}"):
        texts, days = _all_texts(settings, declared)
        before, mark = load(settings, dataset), _mark(declared, texts)
        if before and before.mark == mark:
            deliver_topics(settings, dataset, before)  # it may have been killed before it did
            return Fitted(declared, before, len(texts.texts), days, [], [], Since.UNCHANGED)
        counted = count_words(texts.texts)
        embedder = embedder_of(declared.vectors, counted)
        vectors = embedder.embed(texts.texts)
        topics = fit_topics(counted, vectors, declared.topics_count)
        numbers, last = _numbered(topics, vectors, texts.texts, before)
        model = Model(datetime.now(UTC), embedder, topics, numbers, last, mark)
        save(settings, dataset, model)
        deliver_topics(settings, dataset, model)
    old = before.numbers if before else []
    new, gone = sorted({*numbers} - {*old}), sorted({*old} - {*numbers})
    return Fitted(declared, model, len(texts.texts), days, new, gone, Since.CHANGED if before else Since.FIRST)


def show(settings: Settings, dataset: str) -> list[Shown]:
    """The topics of the newest fit, the largest first.

    Raises :class:`~flows.errors.TidemarkError` where there is none.
    """
    model = load_or_say(settings, declared_of(dataset).dataset)
    names, topics, total = read_names(), model.topics, max(sum(model.topics.texts_counts), 1)
    found = zip(model.numbers, topics.keywords, topics.texts_counts, topics.stability, strict=True)
    shown = [
        Shown(number, names.get(topic_id(dataset, number)) or name_of(keywords), count / total, stability, keywords)
        for number, keywords, count, stability in found
    ]
    return sorted(shown, key=lambda one: -one.share)


def compare_numbers(settings: Settings, dataset: str, counts: Sequence[int]) -> list[Choice]:
    """What numbers of topics would give in the texts of a dataset."""
    declared = declared_of(dataset)
    texts, _ = _all_texts(settings, declared)
    return choices(embedder_of(declared.vectors, count_words(texts.texts)).embed(texts.texts), counts)


def _all_texts(settings: Settings, declared: Declared) -> tuple[Texts, int]:
    """The texts of all days, or so many drawn from them as may be fitted; and of how many days."""
    store = TextStore(settings, declared.dataset, declared.field)
    days = store.days()
    found = Texts([], [])
    for day in days:
        of_day = store.read(day)
        found.ids.extend(of_day.ids)
        found.texts.extend(of_day.texts)
    if not found.ids:
        raise TidemarkError(f"the text store has no {declared.field} of {declared.dataset}: land some first")
    most = MOST_TEXTS if declared.vectors == WORDS else MOST_FOR_LANGUAGE_MODELS
    if len(found.ids) > most:
        drawn = np.sort(np.random.default_rng(0).permutation(len(found.ids))[:most])
        found = Texts([found.ids[n] for n in drawn], [found.texts[n] for n in drawn])
    return found, len(days)


def _mark(declared: Declared, texts: Texts) -> str:
    made = hashlib.sha256(repr(declared).encode())
    for text_id, text in zip(texts.ids, texts.texts, strict=True):
        made.update(f"{text_id} {len(text)} {text}".encode())
    return made.hexdigest()


def _numbered(topics: Topics, vectors: Vectors, texts: Sequence[str], before: Model | None) -> tuple[list[int], int]:
    """The number of each topic: of the one of the fit before whose direction, among the vectors of that fit, the
    topic's texts have; else a new one. And the highest that was ever given."""
    count = len(topics.directions)
    if before is None:
        by_size = sorted(range(count), key=lambda topic: -topics.texts_counts[topic])
        return [by_size.index(topic) + 1 for topic in range(count)], count
    nearest = topics.weights(vectors).argmax(axis=1)
    in_old = before.embedder.embed(texts)
    means = np.vstack([in_old[nearest == topic].sum(axis=0) for topic in range(count)])
    numbers, last = [], before.last_number
    for old in match(before.topics.directions, of_length_1(means), ALIKE):
        last += old is None
        numbers.append(last if old is None else before.numbers[old])
    return numbers, last
