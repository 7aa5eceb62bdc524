"""Number words in English and Swedish, as patterns over text in lower case without accents."""

from flows.land.redaction.folding import words

DIGIT = (
    "zero|oh|o|nought|naught|nil|one|two|three|four|five|six|seven|eight|nine|noll|ett|tva|tre|fyra|fem|sex|sju"
    "|atta|nio"
)
_ENGLISH_TENS = (
    "ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty"
)
ENGLISH = f"zero|oh|one|two|three|four|five|six|seven|eight|nine|{_ENGLISH_TENS}|hundred"
# Swedish writes numbers below a thousand as one word: "trehundrafyrtiofem".
_SWEDISH_TENS = "tjugo|trettio|fyrtio|femtio|sextio|sjuttio|attio|nittio"
_SWEDISH_TEENS = "tio|elva|tolv|tretton|fjorton|femton|sexton|sjutton|arton|nitton"
_SWEDISH_UNITS = "en|ett|tva|tre|fyra|fem|sex|sju|atta|nio"
_SWEDISH_REST = rf"(?:(?:{_SWEDISH_TENS})(?:{_SWEDISH_UNITS})?|{_SWEDISH_TEENS})"
SWEDISH = rf"(?:(?:{_SWEDISH_UNITS}|nitton)?hundra(?:{_SWEDISH_REST}|{_SWEDISH_UNITS})?|{_SWEDISH_REST})"
SWEDISH_NUMBER = rf"(?:{SWEDISH}|tva|tre|fyra|fem|sex|sju|atta|nio)"
SWEDISH_YEAR = rf"(?:(?:nitton|tjugo)hundra\s?{_SWEDISH_REST}|(?:tva)?tusen\s?(?:{_SWEDISH_REST}|{_SWEDISH_UNITS}))"
SWEDISH_ORDINAL = (
    r"(?:(?:tjugo|trettio)?(?:forsta|andra|tredje|fjarde|femte|sjatte|sjunde|attonde|nionde)|tionde|elfte|tolfte"
    r"|\w{3,5}tonde|tjugonde|trettionde)"
)
TENS = rf"{_ENGLISH_TENS}|dubbel|double|triple|treble|hundred|{SWEDISH}"

_SWEDISH_BELOW_100 = frozenset(
    ten + unit for ten in _SWEDISH_TENS.split("|") for unit in ["", *_SWEDISH_UNITS.split("|")]
) | frozenset(_SWEDISH_TEENS.split("|"))
# Where none of these is said, no number is.
DIGIT_WORDS = frozenset(DIGIT.split("|")) - {"o", "ett"}
SWEDISH_WORDS = _SWEDISH_BELOW_100 | words("noll tva tre fyra fem sex sju atta nio hundra")
ENGLISH_WORDS = words("""
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred double triple treble
""")
WORDS = DIGIT_WORDS | SWEDISH_WORDS | ENGLISH_WORDS
