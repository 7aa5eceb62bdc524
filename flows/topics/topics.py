"""Fit the topics of a dataset's texts, and say of each text which it is about; both are delivered into the inbox.

What is delivered lands and is built like all else: ``topics``, a row a topic, and ``text_topics``, a row a text.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.clock import start_of_day
from flows.errors import TidemarkError
from flows.files import replace_private, sha256, sync_file, sync_folder
from flows.locks import held
from flows.rights import make_inbox, make_private
from flows.settings import Settings
from flows.topics.declared import Declared, declared_of, read_declared, read_names
from flows.topics.fit import Choice, Topics, choices, fit_topics, match
from flows.topics.model import FOLDER, Model, folder_of, load, save
from flows.topics.texts import Texts, TextStore
from flows.topics.vectors import WORDS, Vectors, embedder_of, of_length_1

# The system that delivers them, in the inbox.
SOURCE = "topics"
UNCLEAR = 0
# A text of which no topic is as likely is unclear; one that is less likely is not named as its next.
LEAST_WEIGHT, LEAST_NEXT = 0.6, 0.1
# Topics of two fits are the same where the cosine of their directions is at least that.
ALIKE = 0.75
# More texts are not fitted: these are drawn from all. A language model needs a twentieth of a second for each.
MOST_TEXTS, MOST_FOR_LANGUAGE_MODELS = 200_000, 10_000
LABELLED = "labelled.json"


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


@dataclass(frozen=True)
class Labelled:
    """Of how many texts of how many days it was said what they are about, and how many are unclear; ``faults`` are days
    that could not be read, each with what to do."""

    dataset: str
    days_count: int
    texts_count: int
    unclear_count: int
    faults: list[str]


def fit(settings: Settings, dataset: str, now: datetime | None = None) -> Fitted:
    """Find the topics of a dataset. Those that go on from the fit before keep their numbers.

    Raises :class:`~flows.errors.TidemarkError` where there are too few texts, or one of their files cannot be read.
    """
    declared = declared_of(dataset)
    with _alone(settings, f"fit the topics of {dataset}"):
        texts, days = _all_texts(settings, declared)
        before, mark = load(settings, dataset), _mark(declared, texts)
        if before and before.mark == mark:
            # It may have been killed before it delivered them.
            _deliver(settings, "topics", f"{dataset}.parquet", _table_of_topics(dataset, before))
            return Fitted(declared, before, len(texts.texts), days, [], [], Since.UNCHANGED)
        embedder = embedder_of(declared.vectors, texts.texts)
        vectors = embedder.embed(texts.texts)
        topics = fit_topics(texts.texts, vectors, declared.topics_count)
        numbers, last = _numbered(topics, vectors, texts.texts, before)
        model = Model(now or datetime.now(UTC), embedder, topics, numbers, last, mark)
        save(settings, dataset, model)
        _deliver(settings, "topics", f"{dataset}.parquet", _table_of_topics(dataset, model))
    old = before.numbers if before else []
    is_new, is_gone = sorted({*numbers} - {*old}), sorted({*old} - {*numbers})
    return Fitted(declared, model, len(texts.texts), days, is_new, is_gone, Since.CHANGED if before else Since.FIRST)


def show(settings: Settings, dataset: str) -> list[Shown]:
    """The topics of the newest fit, the largest first.

    Raises :class:`~flows.errors.TidemarkError` where there is none.
    """
    model = load(settings, declared_of(dataset).dataset)
    if model is None:
        raise TidemarkError(f"no topics of {dataset} were found yet; run `tidemark topics fit {dataset}`")
    names, topics, total = read_names(), model.topics, max(sum(model.topics.texts_counts), 1)
    shown = [
        Shown(
            number, names.get(f"{dataset}-{number}") or ", ".join(words[:3]) or "no words", count / total, sure, words
        )
        for number, words, count, sure in zip(
            model.numbers, topics.keywords, topics.texts_counts, topics.stability, strict=True
        )
    ]
    return sorted(shown, key=lambda one: -one.share)


def compare_numbers(settings: Settings, dataset: str, counts: Sequence[int]) -> list[Choice]:
    """What numbers of topics would give in the texts of a dataset."""
    declared = declared_of(dataset)
    texts, _ = _all_texts(settings, declared)
    return choices(embedder_of(declared.vectors, texts.texts).embed(texts.texts), counts)


def label(
    settings: Settings, dataset: str | None = None, progress: Callable[[str], None] = lambda line: None
) -> list[Labelled]:
    """Say of the texts of days that changed which topic they are about, of one dataset or of all that are declared.

    A day is said again where its texts or the fit are others than the last time. Datasets that were never fitted are
    left out, but for one that is asked for: then a :class:`~flows.errors.TidemarkError` says so.
    """
    declared = [declared_of(dataset)] if dataset else list(read_declared().values())
    done = []
    for one in declared:
        with _alone(settings, f"label the texts of {one.dataset}"):
            try:
                model = load(settings, one.dataset)
            except TidemarkError as error:  # the texts of others are labelled all the same
                if dataset:
                    raise
                done.append(Labelled(one.dataset, 0, 0, 0, [str(error)]))
                continue
            if model is not None:
                done.append(_label(settings, one, model, progress))
            elif dataset:
                raise TidemarkError(f"no topics of {dataset} were found yet; run `tidemark topics fit {dataset}`")
            else:
                progress(f"topics   {one.dataset}: none were found yet; run `tidemark topics fit {one.dataset}`")
    return done


def _label(settings: Settings, declared: Declared, model: Model, progress: Callable[[str], None]) -> Labelled:
    store = TextStore(settings, declared.dataset, declared.field)
    path = folder_of(settings, declared.dataset) / LABELLED
    marks = json.loads(path.read_text()) if path.exists() else {}
    days, texts_count, unclear, faults = 0, 0, 0, []
    for day in store.days():
        mark = f"{model.version} {store.mark(day)}"
        if marks.get(day.isoformat()) == mark:
            continue
        try:
            texts = store.read(day)
        except TidemarkError as error:
            faults.append(str(error))
            continue
        table = table_of_texts(declared.dataset, day, texts, model)
        _deliver(settings, "text_topics", f"{declared.dataset}-{day}.parquet", table)
        marks[day.isoformat()] = mark
        replace_private(path, json.dumps(marks, indent=0).encode())
        days, texts_count = days + 1, texts_count + table.num_rows
        unclear += table["topic_id"].to_pylist().count(f"{declared.dataset}-{UNCLEAR}")
        progress(f"topics   {declared.dataset} of {day}: {table.num_rows:,} texts")
    return Labelled(declared.dataset, days, texts_count, unclear, faults)


def table_of_texts(dataset: str, day: date, texts: Texts, model: Model) -> pa.Table:
    """The rows of ``text_topics`` that say which topics the texts of a day are about."""
    weights = model.topics.weights(model.embedder.embed(texts.texts))
    order = np.argsort(-weights, axis=1, kind="stable")
    topics, nexts, tops = [], [], []
    for row, best in zip(weights, order, strict=True):
        top, second = float(row[best[0]]), float(row[best[1]])
        is_clear = top >= LEAST_WEIGHT
        follows = best[1] if is_clear else best[0]
        topics.append(f"{dataset}-{model.numbers[best[0]] if is_clear else UNCLEAR}")
        is_likely = (second if is_clear else top) >= LEAST_NEXT
        nexts.append(f"{dataset}-{model.numbers[follows]}" if is_likely else None)
        tops.append(round(top, 6))
    begins = pa.array([start_of_day(day)] * len(topics), pa.timestamp("us", "UTC"))
    return pa.table({
        "text_id": pa.array(texts.ids, pa.string()),
        "topic_id": pa.array(topics, pa.string()),
        "weight": pa.array(tops, pa.float64()),
        "next_topic_id": pa.array(nexts, pa.string()),
        "day_begins_at": begins,
    })  # fmt: skip


def _mark(declared: Declared, texts: Texts) -> str:
    said = hashlib.sha256(repr(declared).encode())
    for row, text in zip(texts.ids, texts.texts, strict=True):
        said.update(f"{row} {len(text)} {text}".encode())
    return said.hexdigest()


def _table_of_topics(dataset: str, model: Model) -> pa.Table:
    topics = model.topics
    rows = [
        {
            "topic_id": f"{dataset}-{number}",
            "dataset": dataset,
            "topic_number": number,
            "keywords": ", ".join(keywords) or None,
            "texts_count": count,
            "stability": stability,
            "fitted_at": model.fitted_at,
        }
        for number, keywords, count, stability in sorted(
            zip(model.numbers, topics.keywords, topics.texts_counts, topics.stability, strict=True)
        )
    ]
    unclear = {
        "topic_id": f"{dataset}-{UNCLEAR}", "dataset": dataset, "topic_number": UNCLEAR, "keywords": None,
        "texts_count": 0, "stability": None, "fitted_at": model.fitted_at,
    }  # fmt: skip
    kinds = [
        ("topic_id", pa.string()), ("dataset", pa.string()), ("topic_number", pa.int64()), ("keywords", pa.string()),
        ("texts_count", pa.int64()), ("stability", pa.float64()), ("fitted_at", pa.timestamp("us", "UTC")),
    ]  # fmt: skip
    return pa.Table.from_pylist([unclear, *rows], schema=pa.schema(kinds))


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


def _numbered(topics: Topics, vectors: Vectors, texts: Sequence[str], before: Model | None) -> tuple[list[int], int]:
    """The number of each topic: of the one of the fit before whose direction, among the vectors of that fit, the
    topic's texts have; else a new one."""
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


def _deliver(settings: Settings, dataset: str, name: str, table: pa.Table) -> None:
    make_inbox(settings.inbox)
    folder = settings.inbox / SOURCE / dataset
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.partial"
    try:
        pq.write_table(table, partial, compression="zstd", store_schema=False)
        if (folder / name).exists() and sha256(partial) == sha256(folder / name):
            return
        sync_file(partial)
        partial.replace(folder / name)
        sync_folder(folder)
    finally:
        partial.unlink(missing_ok=True)


def _alone(settings: Settings, work: str) -> AbstractContextManager[None]:
    make_private(settings.home, FOLDER)
    return held(settings.home / FOLDER / ".lock", work)
