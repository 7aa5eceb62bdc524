"""Who speaks, at the start of each turn of a transcript: the labels are not part of what is said."""

import re
from collections import Counter
from typing import NamedTuple

from flows.land.redaction.common_words import COMMON, MAKES
from flows.land.redaction.folding import OLD_MASK, Folded, Span, words
from flows.land.redaction.given_names import NAMES

_LABEL = re.compile(
    rf"(?:^|\n|\s/\s)[ \t>*-]{{0,3}}(?P<whole>(?:[\[(]?\d{{1,2}}:\d\d(?::\d\d)?[\])]?\s)?\*{{0,2}}"
    rf"(?P<label>[a-z]\w{{0,14}}(?:[ _-](?:\d{{1,3}}|[a-z]))?|{OLD_MASK}{{5,20}})\*{{0,2}}[ \t]?:\*{{0,2}}(?=\s)"
    r"[ \t]{0,3})"
)
_NUMBER = re.compile(r"(?:[ _-]?\d{1,3}|[ _-][a-z])$")
_ROLES = words("""
agent customer caller client user operator rep representative advisor adviser assistant bot chatbot system seller buyer
dealer sales support staff employee host guest speaker spk person participant me you them us interviewer interviewee
patient doctor receptionist clerk manager ai human kund saljare kopare handlaggare kundtjanst jag du talare agenten
kunden operatorn radgivare a b c d q s
""")
# What stands before a colon in forms.
_FIELDS = words("""
name names surname firstname lastname username namn efternamn fornamn email mail epost mejl phone tel telephone mobile
telefon mobil address adress password pin code number no id ssn card account iban dob born note ps zip postcode city
regards mvh heter personnummer losenord reference ref booking policy claim order subject re
""")


class Spoken(NamedTuple):
    """A text without its labels; the labels are spans of the original text, and some of them are names."""

    folded: Folded
    labels: list[Span]
    names: list[Span]


def without_labels(folded: Folded) -> Spoken:
    """The text without labels of roles, and without other labels that come again."""
    found = list(_LABEL.finditer(folded.lower))
    if not found:
        return Spoken(folded, [], [])
    times = Counter(match["label"] for match in found)
    has_known = any(map(_is_known, times))
    labels, names, kept, done = [], [], [], 0
    for match in found:
        label = match["label"]
        if not _is_known(label) and not (has_known and times[label] > 1 and _can_be_name(label)):
            continue
        start, end = match.span("whole")
        if label in NAMES or not _is_known(label):
            names.append(folded.original(Span(*match.span("label"), "NAME")))
        labels.append(folded.original(Span(start, end, "")))
        kept.append((done, start))
        done = end
    if not labels:
        return Spoken(folded, [], [])
    kept.append((done, len(folded.text)))
    positions = folded.positions or range(len(folded.text))
    text, lower = ("".join(whole[start:end] for start, end in kept) for whole in (folded.text, folded.lower))
    where = [place for start, end in kept for place in positions[start:end]]
    return Spoken(Folded(text, lower, where), labels, names)


def _is_known(label: str) -> bool:
    """Whether a label says a role, or is a name or a placeholder."""
    return label[0] == OLD_MASK or label in NAMES or _NUMBER.sub("", label) in _ROLES


def _can_be_name(label: str) -> bool:
    return len(label) > 1 and label not in _FIELDS and label not in COMMON and label not in MAKES


def around_labels(found: list[Span], spoken: Spoken, text: str) -> list[Span]:
    """The spans of the original text in order, cut where a label stands in them."""
    pieces, place = [], 0
    for span in found:
        start = span.start
        while place < len(spoken.labels) and spoken.labels[place].start < start:
            place += 1
        while place < len(spoken.labels) and spoken.labels[place].start < span.end:
            pieces.append(Span(start, spoken.labels[place].start, span.kind))
            start = spoken.labels[place].end
            place += 1
        pieces.append(Span(start, span.end, span.kind))
    trimmed = [_without_blanks(piece, text) for piece in pieces]
    return sorted([span for span in trimmed if span.end > span.start] + spoken.names)


def _without_blanks(span: Span, text: str) -> Span:
    inside = text[span.start : span.end]
    start = span.start + len(inside) - len(inside.lstrip())
    return Span(start, max(start, span.start + len(inside.rstrip())), span.kind)
