"""Say of each text which topic it is about, and deliver that; of the days that changed."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from flows.errors import TidemarkError
from flows.files import replace_private
from flows.settings import Settings
from flows.topics.declared import Declared, declared_of, read_declared
from flows.topics.delivered import UNCLEAR, deliver_texts, table_of_texts, topic_id
from flows.topics.model import Model, alone, folder_of, load, load_or_say
from flows.topics.texts import TextStore

# What was labelled, by day: a mark of the fit and of the day's texts.
LABELLED = "labelled.json"


@dataclass(frozen=True)
class Labelled:
    """Of how many texts of how many days it was said what they are about, and how many are unclear; ``faults`` are days
    that could not be read, each with what to do."""

    dataset: str
    days_count: int
    texts_count: int
    unclear_count: int
    faults: list[str]


def label(settings: Settings, dataset: str, progress: Callable[[str], None] = lambda line: None) -> Labelled:
    """Say of the texts of days that changed which topic they are about.

    A day is said again where its texts or the fit are others than the last time. Raises
    :class:`~flows.errors.TidemarkError` where no topics of the dataset were found, or the fit cannot be loaded.
    """
    declared = declared_of(dataset)
    with alone(settings, f"label the texts of {dataset}"):
        return _label(settings, declared, load_or_say(settings, dataset), progress)


def label_all(settings: Settings, progress: Callable[[str], None] = lambda line: None) -> list[Labelled]:
    """:func:`label` of each dataset that is declared and was fitted; a fit that cannot be loaded is a fault of its own
    and stops no other."""
    done = []
    for name, declared in read_declared().items():
        with alone(settings, f"label the texts of {name}"):
            try:
                model = load(settings, name)
            except TidemarkError as error:
                done.append(Labelled(name, 0, 0, 0, [str(error)]))
                continue
            if model is None:
                progress(f"topics   {name}: none were found yet; run `tidemark topics fit {name}`")
            else:
                done.append(_label(settings, declared, model, progress))
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
        deliver_texts(settings, declared.dataset, day, table)
        marks[day.isoformat()] = mark
        replace_private(path, json.dumps(marks, indent=0).encode())
        days, texts_count = days + 1, texts_count + table.num_rows
        unclear += table["topic_id"].to_pylist().count(topic_id(declared.dataset, UNCLEAR))
        progress(f"topics   {declared.dataset} of {day}: {table.num_rows:,} texts")
    return Labelled(declared.dataset, days, texts_count, unclear, faults)
