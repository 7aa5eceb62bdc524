"""Replace what names or reaches a person in free text by placeholders such as ``<EMAIL>``."""

import re
from collections import Counter
from typing import NamedTuple

import pyarrow as pa

from flows.land.redaction import (
    addresses,
    dictated,
    emails,
    facts,
    handles,
    names,
    number_words,
    numbers,
    rules,
    secrets,
    turns,
)
from flows.land.redaction.folding import Folded, Span, fold, mask
from flows.land.redaction.known import NOBODY, Known

_WORD = re.compile(r"[a-z']+")
_DIGIT = re.compile(r"\d")
# A placeholder can bring words together that make up an address or a name: one more round finds nearly all of them.
_MOST_ROUNDS = 6
# Between two parts of one address or name.
_LARGEST_GAP = 2
# Fewer digits say nothing of a person, unless they are in a code with little around it.
_FEWEST_DIGITS, _SHORT = 3, 100
# With more digits than these, what looks like a fact may be part of a longer number.
_MOST_DIGITS_OF_FACTS = 6
_HAS_SHAPE = re.compile(r"[\d@:]|www\.|\w/")


class Redacted(NamedTuple):
    """A text without what names or reaches a person, and how often each kind was replaced."""

    text: str
    counts: dict[str, int]


def redact(text: str, known: Known = NOBODY) -> Redacted:
    """The text with placeholders; all else stays as it was. Redacting the result again changes nothing."""
    found = find(text, known)
    if not found:
        return Redacted(text, {})
    counts: Counter[str] = Counter()
    for _ in range(_MOST_ROUNDS):
        parts, done = [], 0
        for start, end, kind in found:
            parts += [text[done:start], f"<{kind}>"]
            done = end
        text = "".join([*parts, text[done:]])
        counts.update(span.kind for span in found)
        found = find(text, known)
        if not found:
            break
    return Redacted(text, dict(counts))


def find(text: str, known: Known = NOBODY) -> list[Span]:
    """What :func:`redact` replaces first, in order and without overlaps."""
    folded = fold(text)
    if ":" not in folded.lower:
        spans = _spans(folded, known)
        return [folded.original(span) for span in _merged(spans, folded.lower)] if spans else []
    spoken = turns.without_labels(folded)
    spans = _spans(spoken.folded, known)
    found = [spoken.folded.original(span) for span in _merged(spans, spoken.folded.lower)]
    return turns.around_labels(found, spoken, text) if spoken.labels else found


def _spans(folded: Folded, known: Known) -> list[Span]:
    """The spans of every finder; each sees the text without what was found before it."""
    text, lower = folded.text, folded.lower
    said = frozenset(_WORD.findall(lower))
    spans: list[Span] = list(known.find(lower)) if known else []
    if not secrets.TRIGGERS.isdisjoint(said):
        spans += secrets.find(lower)
    digits = len(_DIGIT.findall(lower))
    spans += emails.find(lower)
    if _HAS_SHAPE.search(lower) or not rules.BIRTH_WORDS.isdisjoint(said):
        spans += rules.find(lower, digits)
    hidden = mask(lower, spans) if spans else lower
    if spans and digits > _MOST_DIGITS_OF_FACTS:
        rests = list(numbers.find_rests(lower, hidden))
        spans += rests
        hidden = mask(hidden, rests)
    located: list[Span] = []
    if not addresses.TRIGGERS.isdisjoint(said):
        located += addresses.find(hidden)
        if not number_words.ENGLISH_WORDS.isdisjoint(said):
            located += addresses.find_spoken(text, hidden)
    if digits or not number_words.SWEDISH_WORDS.isdisjoint(said):
        located += addresses.find_swedish(mask(text, spans), hidden)
    hidden = mask(hidden, located) if located else hidden
    counted: list[Span] = []
    if digits >= _FEWEST_DIGITS or (digits and len(lower) <= _SHORT):
        found_facts = facts.find(dictated.without_agreement(hidden), said)
        if digits > _MOST_DIGITS_OF_FACTS and found_facts:
            found_facts = numbers.without_parts_of_numbers(hidden, found_facts)
        counted = _numbers(mask(hidden, found_facts), said)
    elif not number_words.WORDS.isdisjoint(said):
        counted = _numbers(hidden, said)
    spans += located + counted
    hidden = mask(hidden, counted) if counted else hidden
    spans += names.find_by_context(text, hidden, said)
    if not names.LETTERS.isdisjoint(said):
        spans += names.find_spelled(hidden)
    if "/" in hidden:
        spans += names.find_signed(text, hidden)
    if not handles.NETWORKS.isdisjoint(said):
        spans += handles.find(text, hidden)
    if names.has_name(said):
        spans += names.find_listed(text, hidden)
    if spans or (("\n" in lower or "/" in lower) and names.asks_for_name(lower)):
        spans += names.find_answers(text, lower, mask(hidden, spans))
    return spans


def _numbers(hidden: str, said: frozenset[str]) -> list[Span]:
    """The numbers of a text in which facts are masked."""
    found = list(dictated.find(hidden)) if not dictated.FILLERS.isdisjoint(said) else []
    return [*found, *numbers.find(hidden)]


def _merged(spans: list[Span], lower: str) -> list[Span]:
    """Overlapping spans as one of the kind that was found first, and neighbours of one kind as one."""
    order = {id(span): place for place, span in enumerate(spans)}
    merged: list[Span] = []
    ranks: list[int] = []
    for span in sorted(spans):
        if merged and (span.start < merged[-1].end or _is_next(merged[-1], span, lower)):
            before = merged[-1]
            rank = min(ranks[-1], order[id(span)])
            kind = before.kind if rank == ranks[-1] else span.kind
            merged[-1] = Span(before.start, max(before.end, span.end), kind)
            ranks[-1] = rank
        else:
            merged.append(span)
            ranks.append(order[id(span)])
    return merged


def _is_next(before: Span, after: Span, lower: str) -> bool:
    gap = lower[before.end : after.start]
    return before.kind == after.kind and len(gap) <= _LARGEST_GAP and not gap.strip(" ,")


def redact_column(values: pa.Array | pa.ChunkedArray, known: Known = NOBODY) -> tuple[pa.Array, dict[str, int]]:
    """The column with each distinct text redacted once, and the replacements over all rows; NULL stays NULL."""
    encoded = values.cast(pa.string()).dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no chunks at all
        return pa.array([], pa.string()), {}
    redacted = [redact(text, known) for text in encoded.dictionary.to_pylist()]
    times = Counter(encoded.indices.drop_null().to_pylist())
    counts: Counter[str] = Counter()
    for place, (_, found) in enumerate(redacted):
        for kind, count in found.items():
            counts[kind] += count * times[place]
    texts = pa.array([text for text, _ in redacted], pa.string())
    return texts.take(encoded.indices), dict(counts)
