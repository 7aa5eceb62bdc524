"""What is delivered into the inbox of topics: ``topics``, a row a topic, and ``text_topics``, a row a text.

Both are datasets of the contract, which land and are built like all else.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.clock import start_of_day
from flows.contract.spec import OWN_SOURCE
from flows.extract.delivery import deliver_into
from flows.settings import Settings
from flows.topics.model import Model
from flows.topics.texts import Texts

UNCLEAR = 0
# A text of which no topic is as likely is unclear; one that is less likely is not named as its next.
LEAST_WEIGHT, LEAST_NEXT = 0.6, 0.1
# A topic is called by so many of its words until people name it, by those that are as long: of any language the words
# that say little are mostly short.
WORDS_IN_NAME, LONG = 3, 4
_TOPICS = pa.schema([
    ("topic_id", pa.string()), ("dataset", pa.string()), ("topic_number", pa.int64()), ("keywords", pa.string()),
    ("topic_name", pa.string()), ("texts_count", pa.int64()), ("stability", pa.float64()),
    ("fitted_at", pa.timestamp("us", "UTC")),
])  # fmt: skip


def topic_id(dataset: str, number: int) -> str:
    """By what the contract and the marts know a topic."""
    return f"{dataset}-{number}"


def name_of(keywords: list[str]) -> str:
    """What a topic is called until people name it."""
    long = [word for word in keywords if len(word) >= LONG]
    return ", ".join((long if len(long) >= WORDS_IN_NAME else keywords)[:WORDS_IN_NAME]) or "no words"


def deliver_topics(settings: Settings, dataset: str, model: Model) -> None:
    """Deliver the topics of a fit in the place of those of the one before; nothing where they are there."""
    table = pa.Table.from_pylist(list(_topics(dataset, model)), schema=_TOPICS)
    _deliver(settings, "topics", f"{dataset}.parquet", table)


def deliver_texts(settings: Settings, dataset: str, day: date, texts: pa.Table) -> None:
    """Deliver what the texts of a day are about in the place of what was said of them; nothing where that is there."""
    _deliver(settings, "text_topics", f"{dataset}-{day}.parquet", texts)


def table_of_texts(dataset: str, day: date, texts: Texts, model: Model) -> pa.Table:
    """The rows of ``text_topics`` that say which topics the texts of a day are about."""
    weights = model.topics.weights(model.embedder.embed(texts.texts))
    by_weight = np.argsort(-weights, axis=1, kind="stable")
    rows = []
    for text_id, row, (best, second, *_) in zip(texts.ids, weights, by_weight, strict=True):
        is_clear = row[best] >= LEAST_WEIGHT
        follows = second if is_clear else best
        rows.append({
            "text_id": text_id,
            "topic_id": topic_id(dataset, model.numbers[best] if is_clear else UNCLEAR),
            "weight": round(float(row[best]), 6),
            "next_topic_id": topic_id(dataset, model.numbers[follows]) if row[follows] >= LEAST_NEXT else None,
            "day_begins_at": start_of_day(day),
        })  # fmt: skip
    kinds = [(name, pa.string()) for name in ("text_id", "topic_id", "next_topic_id")]
    return pa.Table.from_pylist(
        rows, schema=pa.schema([*kinds, ("weight", pa.float64()), ("day_begins_at", pa.timestamp("us", "UTC"))])
    )


def _topics(dataset: str, model: Model) -> Iterator[dict[str, Any]]:
    found = model.topics
    common = {"dataset": dataset, "fitted_at": model.fitted_at}
    yield common | {"topic_id": topic_id(dataset, UNCLEAR), "topic_number": UNCLEAR, "topic_name": "unclear",
                    "texts_count": 0}  # fmt: skip
    for number, keywords, count, stability in sorted(
        zip(model.numbers, found.keywords, found.texts_counts, found.stability, strict=True)
    ):
        yield common | {
            "topic_id": topic_id(dataset, number), "topic_number": number, "topic_name": name_of(keywords),
            "keywords": ", ".join(keywords) or None, "texts_count": count, "stability": stability,
        }  # fmt: skip


def _deliver(settings: Settings, dataset: str, name: str, table: pa.Table) -> None:
    def write(path: Path) -> None:
        # How many rows it has is not told: one without any takes the place of the one before, too.
        pq.write_table(table, path, compression="zstd", store_schema=False)

    deliver_into(settings, f"{OWN_SOURCE}/{dataset}", name, write)
