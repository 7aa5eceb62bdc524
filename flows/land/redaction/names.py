"""Names of persons, by what is said around them and by a list of names that are nothing else."""

import re
from collections.abc import Iterator

from flows.land.redaction.common_words import COMMON, MAKES
from flows.land.redaction.folding import MASK, Span, words
from flows.land.redaction.given_names import NAMES
from flows.land.redaction.handles import NETWORKS

_STRONG_WORDS = words(
    "name names surname firstname lastname username nickname heter namn mr mrs ms dr prof herr fru name's mister missus"
    " efternamn fornamn mellannamn smeknamn efternamnet fornamnet namnet"
)
_WEAK_WORDS = words("""
this i'm i am im it's its it jag det speaking speak talking talk dear hi hello hey thanks thank regards ask called
named sincerely miss sir husband wife son daughter partner colleague friend doctor doktor tjena tja
hej hejsan halla mvh halsningar halsar cheers pratar talar soker
""")
_AFTER_WORDS = words("speaking calling here")
_TITLE = r"(?:(?:mr|mrs|ms|miss|mister|missus|doctor|dr|sir|prof|herr|fru)\b\.?\s)?"
_HESITATION = r"(?:(?:uh|um|er|eh|erm|hm+|ah|oh|well|alltsa|liksom|like)[\s,.]{1,3}){0,2}"
# What follows these is a name whatever it looks like.
_STRONG = re.compile(
    rf"(?:\b(?:sur|first|last|user|nick)?name(?:\s(?:on|of|for|in)\s(?:[a-z]+\s){{1,3}}?(?=is\b)|\s)?\s?(?:(?:is"
    rf"|was|would be|should be)\b|'s\b|[:=])"
    rf"|\bnames\b|\bmy (?:full |first |last |user )?name\b|(?:^|\n|/\s)(?:full |first |last |user |sur|and "
    rf"|i )*name\b"
    rf"|\bheter\b|\b(?:efter|for|mellan|smek)?namn(?:et)? ar\b|\b(?:under|in) the name(?: of)?\b"
    rf"|\b(?:mr|mrs|ms|mister|missus|dr|prof|herr|fru)\b\.?)(?:\s(?:is|it's|its))?[\s:,\"']{{1,3}}{_HESITATION}{_TITLE}"
)
_WEAK = re.compile(
    rf"\b(?:this is|i am|i'm|im|it is|it's|its|i is|am|jag ar|det ar|(?:speaking|speak|talking|talk) (?:to|with)"
    rf"|dear|hi|hello|hey|thanks|thank you|regards,?|ask for|called"
    rf"|named|sincerely,?|miss|sir|husband|wife|son|daughter|partner|colleague|friend|doctor|doktor"
    rf"|mvh|halsningar(?: fran)?|halsar|cheers"
    rf"|(?P<capital>(?:pratar|talar) med|soker|tjena|tja|hej|hejsan|halla))[\s,]{{1,2}}{_HESITATION}{_TITLE}"
)
_AFTER = re.compile(r"\b([a-z'-]{2,20}(?:\s[a-z'-]{2,20})?)\s(?:speaking|calling|here)\b")
_LETTERS = re.compile(r"[a-z]+")
# Letters that are no words: where nothing is spelled, hardly any stands alone.
LETTERS = words("b c d e f g h j k l m n o p q r s t u v w x y z")
_SPELLED = re.compile(r"(?<![a-z0-9'])[a-z](?:(?:\s?[-.]\s?|\s|,\s)[a-z](?![a-z0-9'])){3,}+")
_WORD = re.compile(r"[\s]{0,2}((?:[a-z]\.?(?![a-z'-]))|[a-z][a-z'-]*+)")
# Surnames that are words of every day: only after a name, and before nothing that they could describe.
_SURNAME_WORDS = words("brown black white green young best king long may love day grant price good small little street")
# Given names that are words of every day: only with a capital letter, after "my name is" and the like.
_WORDS_AS_NAMES = words("""
will may mark grace rose grant bill april june hope faith joy summer art bob dean drew gene guy jack pat young
""")
_PARTICLES = re.compile(r"(?:\s(?:de|la|le|du|del|della|di|da|dos|van|von|der|ter|af|bin|ibn|al|el)){1,3}(?=\s[A-Z])")
_CAPITALS = re.compile(r"[A-Z][\w'.-]*+(?:\s+(?:[a-z]{2,4}\s){0,2}[A-Z][\w'.-]*+)*+")
_WORD_AFTER = re.compile(r"\s(?!(?:and|my|ssn|account|card|here|speaking|with|from|the|i)\b)[a-z]")
_TURN = re.compile(r"(?:^|[\n/])\s*([^\n/]*)")
_PARTS = re.compile(rf"[a-z'-]+|{MASK}|[^\s]")
_MASKS = re.compile(f"{MASK}+")
_ASKS = re.compile(
    r"\b(?:your|the|full|first|last|sur) ?name|who am i (?:speaking|talking)|who is (?:this|calling|speaking)"
    r"|speaking (?:to|with)"
    r"|spell|vad heter|vad ar namnet|ditt namn|^name,? please"
)
_ASKING = re.compile(r"\?|^(?:what|may|can|could|who|whose|please|and your|vad|kan)\b")
_FOLLOWS = words(
    "and my ssn from with calling speaking here number the account card last social phone i ac acc email the a on"
)
_SURNAME_ENDINGS = ("sson", "berg", "strom", "qvist", "gren", "lund")
_BEFORE = re.compile(r"(?<![\w'-])([A-Z][a-z'-]+)\s\Z")
_SIGNED = re.compile(r"(?:^|\s)/([A-Z][a-z]{2,14}(?:\s[A-Z][a-z]{1,20})?)\s*\Z")
_ENDINGS = ("ing", "ed", "ly", "able", "ful", "ous", "ish", "n't")
_SHORT_ANSWER = 3
_LONGEST_AGREEMENT = 12
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
                yield from _in_capitals(text, span) if match["capital"] else (span,)


def _in_capitals(text: str, span: Span) -> Iterator[Span]:
    """The words at the start of a name that have a capital letter."""
    match = _CAPITALS.match(text, span.start, span.end)
    if match is not None:
        yield Span(*match.span(), span.kind)


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
            start = match.start()
            if match[0].endswith(_SURNAME_ENDINGS) and (before := _BEFORE.search(text, max(0, start - 24), start)):
                known = before[1].lower() in COMMON or before[1].lower() in MAKES
                start = start if known else before.start(1)
            yield Span(start, _surname_end(text, lower, match.end()), "NAME")


def find_signed(text: str, lower: str) -> Iterator[Span]:
    """The name that ends a text after a slash."""
    match = _SIGNED.search(text, max(0, len(text) - 48))
    if match is not None and _can_be_name(lower[match.start(1) : match.end(1)].split(maxsplit=1)[0]):
        yield Span(*match.span(1), "NAME")


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
        if particle := _PARTICLES.match(text, end):
            end = particle.end()
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


def find_answers(text: str, lower: str, hidden: str) -> Iterator[Span]:
    """Turns that hold little but a name: the answer to a question for it, or a name with a number or name beside it.

    What was found before is masked in ``hidden``.
    """
    asked = False
    for turn in _TURN.finditer(hidden):
        if asked or MASK in turn[1]:
            yield from _answer(text, lower, turn, asked)
        is_question = _ASKS.search(turn[1]) is not None and _ASKING.search(turn[1]) is not None
        asked = is_question or (asked and _only_agrees(turn[1]))


def _only_agrees(turn: str) -> bool:
    """Whether a turn says no more than "sure", so that the answer may still come."""
    return len(turn) <= _LONGEST_AGREEMENT and COMMON.issuperset(_LETTERS.findall(turn)) and "?" not in turn


def _answer(text: str, lower: str, turn: re.Match[str], asked: bool) -> Iterator[Span]:
    """The names in a turn that holds little else."""
    start = turn.start(1)
    said, others = [], []
    for part in _PARTS.finditer(turn[1].rstrip(_STOPS)):
        if _can_be_name(part[0]):
            said.append(part)
        elif part[0] not in _BESIDE:
            others.append(part[0])
    if not 0 < len(said) <= _SHORT_ANSWER or any(part != MASK for part in others):
        return
    if (MASK in turn[1] and not _has_only_postcodes(lower, turn)) or (asked and not others):
        # Beside a name with a capital letter a word without one is none: "Bertil Johansson sold it".
        has_capital = any(text[start + found.start()].isupper() for found in _MASKS.finditer(turn[1]))
        for part in said:
            if not has_capital or text[start + part.start()].isupper():
                yield Span(start + part.start(), start + part.end(), "NAME")


def _has_only_postcodes(lower: str, turn: re.Match[str]) -> bool:
    """Whether all that was found in a turn are numbers of five or six digits: the word beside is a town, then."""
    found = [lower[turn.start(1) + mask.start() : turn.start(1) + mask.end()] for mask in _MASKS.finditer(turn[1])]
    return all(text.isdigit() and len(text) in {5, 6} for text in found)


def _can_be_name(word: str) -> bool:
    if len(word) == 1 or word in COMMON or word in MAKES or word in NETWORKS:
        return False
    letters = word.replace("-", "").replace("'", "")
    return len(letters) > 1 and letters.isalpha()
