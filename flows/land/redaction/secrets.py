"""What is said to prove who one is: passwords, PINs, answers to security questions."""

import re
from collections.abc import Iterator

from flows.land.redaction.common_words import COMMON
from flows.land.redaction.folding import MASK, OLD_MASK, Span, words
from flows.land.redaction.number_words import WORDS

TRIGGERS = words("""
password passwords passcode passphrase pwd pin pins pincode word answer maiden pet losenord losenordet pinkod pinkoden
pass cvv cvc otp code
""")
_NOUN = (
    r"\b(?:pass ?words?|pass ?codes?|pass ?phrase|pwd|pin(?: ?code| number)?|(?:memorable|secret|security"
    r"|safe) (?:word|name|answer|phrase)"
    r"|answer to (?:my|the|that|your) (?:security )?question|maiden name"
    r"|(?:first|favou?rite|childhood) (?:pet|teacher|school|street)(?:'s name)?|losenord(?:et)?"
    r"|pinkod(?:en)?|cvv|cvc|otp"
    r"|(?:security|one[ -]time|access|verification) code)"
)
# Words may stand between: "the password for my account was changed to ...".
_IS = re.compile(
    rf"{_NOUN}(?:\s(?:for|of|to|on|in)\s(?:[a-z']+\s){{1,3}}?(?=is\b|was\b)|\s)?\s?(?:number\s)?"
    rf"(?:(?:is|was|are|should be|will be|would be|as|ar|to)\b|'s\b|[:=-])(?:\s(?:now|changed to|set to|just"
    rf"|called))?\s?[:,\"']?\s?"
)
_DIRECTLY = re.compile(rf"{_NOUN}\s(?=(?:[^\s\d]{{1,20}}\s)?[^\s\d{MASK}]{{0,20}}\d)")
_TOKEN = re.compile(rf"[^\s{MASK}{OLD_MASK}]++")
_NO_SECRET = words("""
reset recovery protected manager expired incorrect invalid required field page policy locked unlock hacked strong weak
blank correct exactly compromised blocked case length forgotten
""")
_SPELLING = words("capital uppercase lowercase upper lower small big stor liten versal") | WORDS
_MOST_TOKENS, _MOST_SPELLED = 4, 12
_END = ".,;!?\"')"


def find(lower: str) -> Iterator[Span]:
    """The secrets of a text in lower case."""
    for pattern in (_IS, _DIRECTLY):
        for match in pattern.finditer(lower):
            start, end, spelled = match.end(), match.end(), 0
            for place, token in enumerate(_TOKEN.finditer(lower, match.end(), match.end() + 120)):
                word = token[0].strip(_END)
                is_spelling = word in _SPELLING or (len(word) == 1 and spelled > 0)
                spelled += is_spelling
                if place - spelled == _MOST_TOKENS or spelled > _MOST_SPELLED or not word:
                    break
                if not is_spelling and (word in COMMON or word in _NO_SECRET):
                    break
                start = token.start() if place == 0 else start
                end = token.end() if token[0][-1] not in _END[:5] else token.start() + len(token[0].rstrip(_END[:3]))
                goes_on = is_spelling and token[0][-1] == ","
                if (token[0][-1] in _END and not goes_on) or lower[token.end() : token.end() + 1] == "\n":
                    break
            if end > start:
                yield Span(start, end, "PASSWORD")
