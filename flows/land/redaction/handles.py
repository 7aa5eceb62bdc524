"""Names that people go by in social networks, after the name of the network."""

import re
from collections.abc import Iterator

from flows.land.redaction.common_words import COMMON
from flows.land.redaction.folding import Span, words

NETWORKS = words("""
snapchat snap insta instagram twitter tiktok telegram facebook fb messenger discord skype kik linkedin wechat
""")
_HANDLE = re.compile(
    rf"\b(?:{'|'.join(sorted(NETWORKS))})(?P<link>(?:\s(?:is|as|name|username|user|handle|id|under|ar|heter|som|my"
    rf"|called))*+)[\s:]{{1,3}}(?P<first>[a-z0-9][\w.-]{{2,29}}+)(?P<more>\s[a-z][a-z'-]{{1,29}})?"
)
_NO_HANDLE = words("""
marketplace page group ad ads advert adverts login log account profile message messages messenger post posts listing
yesterday today app link friends chat story video dm dms konto sida
application site website call grupp annons annonsen profil marknadsplats
""")


def find(text: str, lower: str) -> Iterator[Span]:
    """Names after a network's: where a word such as "as" stands between, or with nothing but the end behind them."""
    for match in _HANDLE.finditer(lower):
        if match["first"] in COMMON or match["first"] in _NO_HANDLE:
            continue
        capital = match["more"] is not None and text[match.start("more") + 1].isupper()
        ends = lower[match.end("first") : match.end("first") + 2].strip(" .,!?") in {"", "\n"}
        if match["link"] or ends or any(map(str.isdigit, match["first"])):
            yield Span(match.start("first"), match.end("more" if capital else "first"), "NAME")
