"""The country that a postal address ends in, as its ISO 3166-1 code of two letters; none wherever that is not certain.

Only the last part of an address counts, what stands after its last comma, semicolon or line end, and only as a whole:
`12 Rue de France` ends in a street. The names of countries are those of the Unicode CLDR, from Babel: in English, in
Swedish and in the country's own languages.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.languages import get_official_languages

# Commas of Arabic, Chinese and Japanese too.
_SEPARATORS = re.compile(r"[,;\r\n\u060c\uff0c\u3001]+")
_EDGES = " \t\u00a0.()[]\"'"
_CODE = re.compile(r"[A-Z]{2,3}")
# Territories of CLDR that ISO 3166-1 does not have, such as the European Union.
_NO_COUNTRIES = frozenset(("AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ"))
# What people write and CLDR does not.
_ALSO_CALLED = {
    "AX": ("Ahvenanmaa",),
    "BY": ("Vitryssland",),
    "CD": ("Democratic Republic of the Congo", "DR Congo"),
    "CG": ("Republic of the Congo",),
    "CI": ("Ivory Coast",),
    "CZ": ("Czech Republic", "Česká republika", "Tjeckiska republiken"),
    "GB": ("Great Britain", "England", "Scotland", "Wales", "Northern Ireland", "Skottland", "Nordirland"),
    "HK": ("Hong Kong", "Hongkong"),
    "IE": ("Republic of Ireland",),
    "KR": ("Republic of Korea",),
    "MK": ("Macedonia", "Makedonien"),
    "MM": ("Myanmar", "Burma"),
    "MO": ("Macao", "Macau"),
    "NL": ("Holland",),
    "PS": ("Palestine", "Palestina"),
    "RU": ("Russian Federation",),
    "SZ": ("Swaziland",),
    "TL": ("East Timor",),
    "TR": ("Turkey",),
    "US": ("United States of America", "U.S.A.", "U.S.", "Förenta staterna"),
}
# Names of countries that are states of others too: of the United States and of Nigeria.
_STATES_TOO = frozenset({"georgia", "niger"})
# Codes of countries that are also states of the United States, Canada, Australia and Brazil, which write them behind
# the town. No line there begins with a postcode, but for Brazil's old form.
_STATES = frozenset([
    "AL", "AM", "AR", "AZ", "BA", "CA", "CO", "DE", "ES", "GA", "ID", "IL", "IN", "KY", "LA", "MA", "MD", "ME",
    "MG", "MN", "MO", "MS", "MT", "NC", "NE", "NL", "NU", "PA", "PE", "PR", "RO", "RS", "SA", "SC", "SD", "SE",
    "SK", "TN", "TO", "VA", "YT",
])  # fmt: skip
# Codes of countries that are also provinces of Italy and cantons of Switzerland, which write a postcode before the
# town, by its form.
_PROVINCES = {
    re.compile(r"\d{5}(?!\d)"): frozenset([
        "AG", "AL", "AO", "AQ", "AR", "AT", "BA", "BG", "BI", "BL", "BN", "BO", "BR", "BS", "BT", "BZ", "CA",
        "CH", "CI", "CL", "CN", "CO", "CR", "CZ", "FI", "FM", "FR", "GE", "GR", "IM", "IS", "KR", "LC", "LI",
        "LT", "LU", "MC", "ME", "MN", "MO", "MS", "MT", "NA", "NO", "NU", "PA", "PE", "PG", "PN", "PR", "PT",
        "RE", "RO", "SA", "SI", "SO", "SR", "SS", "SV", "TN", "TO", "TR", "TV", "VA", "VC", "VE", "VI",
    ]),
    re.compile(r"\d{4}(?!\d)"): frozenset([
        "AG", "AI", "AR", "BE", "BL", "BS", "FR", "GE", "GL", "GR", "LU", "NE", "SG", "SH", "SO", "SZ", "TG",
    ]),
}  # fmt: skip
_POSTCODE = re.compile(r"(?!\d{5}-\d{3})(?:[A-Z]{1,3}-)?\d(?:[ ]?\d){2,}")


def country_of(address: str) -> str | None:
    """The code of the country that an address ends in."""
    parts = [part for part in (part.strip(_EDGES) for part in _SEPARATORS.split(address)) if part]
    if not parts:
        return None
    *before, last = parts
    if not _CODE.fullmatch(last):
        return _names().get(_folded(last))
    code = _codes().get(last)
    return code if len(last) == 3 or _is_no_subdivision(last, before) else None


def _is_no_subdivision(code: str, before: list[str]) -> bool:
    """Whether a code of two letters behind these parts can be no state, province or canton of another country.

    Where it could, the part before is to begin with a postcode as those countries do not write it.
    """
    of_others = [postcode for postcode, provinces in _PROVINCES.items() if code in provinces]
    if code not in _STATES and not of_others:
        return True
    if len(before) < 2:  # a number may be the house's
        return False
    town = before[-1]
    return bool(_POSTCODE.match(town)) and not any(postcode.match(town) for postcode in of_others)


@cache
def _countries() -> frozenset[str]:
    """The codes of ISO 3166-1."""
    territories = map(str, Locale("en").territories)
    return frozenset(code for code in territories if re.fullmatch("[A-Z]{2}", code)) - _NO_COUNTRIES


@cache
def _codes() -> Mapping[str, str]:
    """Every code as it is written, of two letters or three, and the country's code of two."""
    aliases = {alias: codes[0] for alias, codes in get_global("territory_aliases").items() if len(codes) == 1}
    of_three = {alias: code for alias, code in aliases.items() if re.fullmatch("[A-Z]{3}", alias)}
    known = {alias: code for alias, code in of_three.items() if code in _countries()}
    return {code: code for code in _countries()} | {"UK": "GB"} | known


@cache
def _names() -> Mapping[str, str]:
    """Every name that stands for one country alone, folded, and its code."""
    found: dict[str, set[str]] = {}
    for code in _countries():
        languages = {"en", "sv", *get_official_languages(code, de_facto=True)}
        for name in (*filter(None, (_name_in(language, code) for language in languages)), *_ALSO_CALLED.get(code, ())):
            found.setdefault(_folded(name), set()).add(code)
    return {name: codes.pop() for name, codes in found.items() if len(codes) == 1 and name not in _STATES_TOO}


def _name_in(language: str, code: str) -> str | None:
    try:
        name: str | None = Locale.parse(language).territories.get(code)
    except UnknownLocaleError:  # a language that CLDR has no names in
        return None
    return name


def _folded(name: str) -> str:
    """A name without case, accents and punctuation, so that ways of writing it meet."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter)).replace("&", " and ")
    words = re.findall(r"\w+", re.sub(r"\b(?:saint|s:t)\b", "st", plain))
    return " ".join(words[1:] if words[:1] == ["the"] else words)
