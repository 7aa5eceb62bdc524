"""Names of persons, by what is said around them and by a list of names that are nothing else."""

import re
from collections.abc import Iterator

from flows.land.redaction.common_words import COMMON, MAKES
from flows.land.redaction.folding import MASK, Span, words
from flows.land.redaction.given_names import NAMES

_STRONG_WORDS = words(
    "name names surname firstname lastname username nickname heter namn mr mrs ms dr prof herr fru name's"
)
_WEAK_WORDS = words("""
this i'm i am im it's its it jag det speaking speak talking talk dear hi hello hey thanks thank regards ask called
named sincerely miss sir husband wife son daughter partner colleague friend
""")
_AFTER_WORDS = words("speaking calling here")
_TITLE = r"(?:(?:mr|mrs|ms|miss|dr|sir|prof|herr|fru)\b\.?\s)?"
# What follows these is a name whatever it looks like.
_STRONG = re.compile(
    rf"(?:\b(?:sur|first|last|user|nick)?name(?:\s(?:on|of|for|in)\s(?:[a-z]+\s){{1,3}}?(?=is\b)|\s)?\s?(?:(?:is"
    rf"|was|would be|should be)\b|'s\b|[:=])"
    rf"|\bnames\b|\bmy (?:full |first |last |user )?name\b|(?:^|\n|/\s)(?:full |first |last |user |sur|and "
    rf"|i )*name\b"
    rf"|\bheter\b|\bnamn ar\b|\b(?:under|in) the name(?: of)?\b|\b(?:mr|mrs|ms|dr|prof|herr|fru)\b\.?)(?:\s(?:is"
    rf"|it's|its))?[\s:\"']{{1,3}}{_TITLE}"
)
_WEAK = re.compile(
    rf"\b(?:this is|i am|i'm|im|it is|it's|its|i is|am|jag ar|det ar|(?:speaking|speak|talking|talk) (?:to|with)"
    rf"|dear|hi|hello|hey|thanks|thank you|regards,?|ask for|called"
    rf"|named|sincerely,?|miss|sir|husband|wife|son|daughter|partner|colleague|friend)[\s,]{{1,2}}{_TITLE}"
)
_AFTER = re.compile(r"\b([a-z'-]{2,20}(?:\s[a-z'-]{2,20})?)\s(?:speaking|calling|here)\b")
_LETTERS = re.compile(r"[a-z]+")
_SPELLED = re.compile(r"(?<![a-z0-9'])[a-z](?:(?:\s?[-.]\s?|\s|,\s)[a-z](?![a-z0-9'])){3,}+")
_WORD = re.compile(r"[\s]{0,2}((?:[a-z]\.?(?![a-z'-]))|[a-z][a-z'-]*+)")
# Surnames that are words of every day: only after a name, and before nothing that they could describe.
_SURNAME_WORDS = words("brown black white green young best king long may love day grant price good small little street")
# Given names that are words of every day: only with a capital letter, after "my name is" and the like.
_WORDS_AS_NAMES = words("""
will may mark grace rose grant bill april june hope faith joy summer art bob dean drew gene guy jack pat young
""")
_WORD_AFTER = re.compile(r"\s(?!(?:and|my|ssn|account|card|here|speaking|with|from|the|i)\b)[a-z]")
_TURN = re.compile(r"(?:^|[\n/])\s*([^\n/]*)")
_PARTS = re.compile(rf"[a-z'-]+|{MASK}|[^\s]")
_MASKS = re.compile(f"{MASK}+")
_ASKS = re.compile(
    r"\b(?:your|the|full|first|last|sur) ?name|who am i (?:speaking|talking)|who is (?:this|calling|speaking)"
    r"|speaking (?:to|with)"
    r"|spell|vad heter"
)
_ASKING = re.compile(r"\?|^(?:what|may|can|could|who|whose|please|and your|vad|kan)\b")
_FOLLOWS = words(
    "and my ssn from with calling speaking here number the account card last social phone i ac acc email the a on"
)
_ENDINGS = ("ing", "ed", "ly", "able", "ful", "ous", "ish", "n't")
_SHORT_ANSWER = 3
_STOPS = " .!?"
_BESIDE = words("""
and ssn is no num number numbers id social account acc ac last four digits digit policy claim booking confirmation
phone mobile card credit debit my the with are sure yes yeah ok okay hi hello oh sorry its it's it name a mail email
address , : -
""")


def has_name(words_of_text: frozenset[str]) -> bool:
    """Whether a word of the list of names is among the words of a text."""
    return not NAMES.isdisjoint(words_of_text)


def find_by_context(text: str, lower: str, said: frozenset[str]) -> Iterator[Span]:
    """Names after "my name is", "this is", "Mrs" and the like, in a text of these words."""
    if not _STRONG_WORDS.isdisjoint(said):
        for match in _STRONG.finditer(lower):
            yield from _name_at(text, lower, match.end())
    if not _WEAK_WORDS.isdisjoint(said):
        yield from _find_weak(text, lower)
    if not _AFTER_WORDS.isdisjoint(said):
        yield from _find_before_speaking(text, lower)


def _find_weak(text: str, lower: str) -> Iterator[Span]:
    for match in _WEAK.finditer(lower):
        for span in _name_at(text, lower, match.end()):
            if _is_name_after_weak(text, lower, span):
                yield span


def _find_before_speaking(text: str, lower: str) -> Iterator[Span]:
    for match in _AFTER.finditer(lower):
        said = [word for word in match[1].split() if word not in COMMON]
        if said and (said[0] in NAMES or text[match.end(1) - len(said[-1])].isupper()):
            yield Span(match.end(1) - len(" ".join(said)), match.end(1), "NAME")


def asks_for_name(lower: str) -> bool:
    """Whether a question for a name is in a text."""
    return _ASKS.search(lower) is not None


def find_spelled(lower: str) -> Iterator[Span]:
    """Words spelled letter by letter."""
    for match in _SPELLED.finditer(lower):
        yield Span(match.start(), match.end(), "NAME")


def find_listed(text: str, lower: str) -> Iterator[Span]:
    """Names of the list, with the capitalised or last word of the turn after them."""
    for match in _LETTERS.finditer(lower):
        if match[0] in NAMES:
            yield Span(match.start(), _surname_end(text, lower, match.end()), "NAME")


def _surname_end(text: str, lower: str, end: int) -> int:
    match = _WORD.match(lower, end)
    if match is not None and match[1] in _SURNAME_WORDS and not _WORD_AFTER.match(lower, match.end()):
        return match.end(1)
    if match is None or match[1] in COMMON or match[1] in MAKES or not lower[end : end + 1].isspace():
        return end
    after = lower[match.end() : match.end() + 1]
    if text[match.start(1)].isupper() or after in {"", "\n"}:
        return match.end(1)
    return end


def _name_at(text: str, lower: str, start: int) -> Iterator[Span]:
    """One to three words from a place on, as far as they can be a name."""
    end, taken = start, 0
    while taken < 3 and (match := _WORD.match(lower, end)):
        word = match[1].rstrip(".")
        if taken and word in _SURNAME_WORDS and not _WORD_AFTER.match(lower, match.end()):
            end = match.end(1)
            break
        if word in _WORDS_AS_NAMES and text[match.start(1)].isupper():
            pass
        elif word in COMMON or word in MAKES or word.endswith("n't") or (taken and not lower[end : end + 1].isspace()):
            break
        if taken == 0:
            start = match.start(1)
        end, taken = match.end(1), taken + 1
    if taken and end - start > 1:
        yield Span(start, end, "NAME")


def _is_name_after_weak(text: str, lower: str, span: Span) -> bool:
    """Whether a word is a name where other words are likely, too: "I'm Anna", but "I'm delighted"."""
    first = lower[span.start : span.end].split(maxsplit=1)[0]
    if first in NAMES or (first in _WORDS_AS_NAMES and text[span.start].isupper()):
        return True
    if text[span.start].isupper():
        return not text[max(0, span.start - 8) : span.start + 2].isupper()
    following = _WORD.match(lower, span.end)
    ends = following is None or following[1] in _FOLLOWS
    return ends and not first.endswith(_ENDINGS) and len(first) > 2


def find_answers(lower: str, hidden: str) -> Iterator[Span]:
    """Turns that hold little but a name: the answer to a question for it, or a name with a number or name beside it.

    What was found before is masked in ``hidden``.
    """
    asked = False
    for turn in _TURN.finditer(hidden):
        parts = list(_PARTS.finditer(turn[1].rstrip(_STOPS)))
        said = [part for part in parts if _can_be_name(part[0])]
        others = [part[0] for part in parts if not _can_be_name(part[0]) and part[0] not in _BESIDE]
        if (
            0 < len(said) <= _SHORT_ANSWER
            and all(part == MASK for part in others)
            and ((MASK in turn[1] and not _has_only_postcodes(lower, turn)) or (asked and not others))
        ):
            for part in said:
                yield Span(turn.start(1) + part.start(), turn.start(1) + part.end(), "NAME")
        asked = _ASKS.search(turn[1]) is not None and _ASKING.search(turn[1]) is not None


def _has_only_postcodes(lower: str, turn: re.Match[str]) -> bool:
    """Whether all that was found in a turn are numbers of five or six digits: the word beside is a town, then."""
    found = [lower[turn.start(1) + mask.start() : turn.start(1) + mask.end()] for mask in _MASKS.finditer(turn[1])]
    return all(text.isdigit() and len(text) in {5, 6} for text in found)


def _can_be_name(word: str) -> bool:
    letters = word.replace("-", "").replace("'", "")
    return len(letters) > 1 and letters.isalpha() and word not in COMMON and word not in MAKES
