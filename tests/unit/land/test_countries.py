"""An address says its country where it ends in one, however that is written; in any doubt it says none."""

import pytest

from flows.land import countries
from flows.land.countries import country_of


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("Storgatan 1, 111 22 Stockholm, Sverige", "SE"),
        ("Storgatan 1\n111 22 Stockholm\nSWEDEN\n", "SE"),
        ("Storgatan 1; 111 22 Stockholm; sverige.", "SE"),
        ("Storgatan 1, 111 22 Stockholm, (Sverige)", "SE"),
        ("Sverige", "SE"),
        ("Karl Johans gate 1, 0154 Oslo, Norge", "NO"),
        ("Karl Johans gate 1, 0154 Oslo, Noreg", "NO"),
        ("Mannerheimvägen 1, 00100 Helsingfors, Finland", "FI"),
        ("Mannerheimintie 1, 00100 Helsinki, Suomi", "FI"),
        ("Hauptstraße 5, 10115 Berlin, Deutschland", "DE"),
        ("Hauptstraße 5, 10115 Berlin, Tyskland", "DE"),
        ("Mozartgasse 2, 1010 Wien, ÖSTERREICH", "AT"),
        ("Mozartgasse 2, 1010 Wien, Osterreich", "AT"),
        ("12 Rue de la Paix, 75002 Paris, France", "FR"),
        ("10 High Street, London SW1A 2AA, United Kingdom", "GB"),
        ("10 High Street, London SW1A 2AA, U.K.", None),
        ("10 High Street, Cardiff, Wales", "GB"),
        ("1600 Main Street, Springfield, IL 62701, U.S.A.", "US"),
        ("Keizersgracht 1, 1015 CJ Amsterdam, The Netherlands", "NL"),
        ("1 Xinhua Road，Beijing，中国", "CN"),  # noqa: RUF001
        ("ул. Тверская 1, Москва, Россия", "RU"),
        ("1 Tahrir Square، Cairo، مصر", "EG"),
        ("Lungo 4, Sarajevo, Bosnia and Herzegovina", "BA"),
        ("Lungo 4, Sarajevo, Bosnia & Herzegovina", "BA"),
        ("1 Bay Street, Castries, Saint Lucia", "LC"),
        ("1 Bay Street, Castries, St. Lucia", "LC"),
        ("Rustaveli 1, Tbilisi, საქართველო", "GE"),
    ],
)
def test_a_country_is_known_by_its_name_in_english_swedish_and_its_own_languages(
    address: str, code: str | None
) -> None:
    assert country_of(address) == code


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("Storgatan 1, 111 22 Stockholm, SE", "SE"),
        ("Storgatan 1, Stockholm, SWE", "SE"),
        ("Hauptstraße 5, 10115 Berlin, DE", "DE"),
        ("Hauptstraße 5, 10115 Berlin, DEU", "DE"),
        ("Mannerheimintie 1, FI-00100 Helsinki, FI", "FI"),
        ("Karl Johans gate 1, 0154 Oslo, NO", "NO"),
        ("Vinohradská 1, 120 00 Praha, CZ", "CZ"),
        ("10 High Street, London SW1A 2AA, UK", "GB"),
        ("10 High Street, London SW1A 2AA, GB", "GB"),
        ("1600 Main Street, Springfield, IL 62701, US", "US"),
        ("1600 Main Street, Wilmington, DE, USA", "US"),
        ("Storgatan 1, 111 22 Stockholm, se", None),
        ("Storgatan 1, 111 22 Stockholm, EU", None),
        ("Rruga 1, 10000 Prishtina, XKX", None),
        ("Storgatan 1, 111 22 Stockholm, XX", None),
    ],
)
def test_a_country_is_known_by_its_code_in_capitals(address: str, code: str | None) -> None:
    assert country_of(address) == code


@pytest.mark.parametrize(
    "address",
    [
        "1600 Main Street, Wilmington, DE",  # Delaware, no Germany
        "1600 Main Street, DE",
        "9 Elm Street, Albany, GA",
        "12 Water Street, St. John's, NL",  # Newfoundland and Labrador
        "Rua das Flores 3, Aracaju, SE",  # Sergipe
        "Rua das Flores 3, 49000-000 Aracaju, SE",
        "Via Roma 1, 50122 Firenze, FI",
        "Via Roma 1, 28100 Novara, NO",
        "Bundesplatz 3, 3003 Bern, BE",
        "5 Peachtree Street, Atlanta, Georgia",
        "2 Palace Road, Minna, Niger",
    ],
)
def test_a_state_of_a_country_is_not_taken_for_another_country(address: str) -> None:
    assert country_of(address) is None


@pytest.mark.parametrize(
    "address",
    [
        "Sverigevägen 3, 123 45 Provköping",
        "Danmarksgatan 3, 753 23 Uppsala",
        "12 Rue de France",
        "12 Avenue de France, 75013 Paris",
        "1 Norway Street, Portland, ME 04101",
        "Sverige, Storgatan 1, 111 22 Stockholm",
        "Storgatan 1, 111 22 Stockholm Sverige",
        "New Jersey",
        "SE-111 22 Stockholm",
        "Anna Svensson",
        "+46 70 174 06 05",
        "",
        " , ;\n",
        "SE",
    ],
)
def test_a_name_or_code_elsewhere_than_alone_at_the_end_says_nothing(address: str) -> None:
    assert country_of(address) is None


def test_every_country_of_iso_3166_1_has_two_codes_and_a_name_of_its_own() -> None:
    codes, names = countries._codes(), countries._names()
    assert len(countries._countries()) == 249
    of_three = {code for written, code in codes.items() if len(written) == 3}
    assert of_three == {code for written, code in codes.items() if len(written) == 2} == {*countries._countries()}
    assert {*countries._countries()} - {*names.values()} == {"NE"}  # Niger is a state of Nigeria too
    assert all(len(code) == 2 for code in names.values())


def test_whatever_is_said_comes_out_as_a_code_or_as_nothing() -> None:
    """Never a part of the address."""
    for name in countries._names():
        assert country_of(f"Storgatan 1, {name}") in countries._countries()
