"""What names or reaches a person is replaced, what tells of a thing stays, and no text takes long."""

import pyarrow as pa
import pytest

from flows.land.redaction.redact import redact, redact_column
from tests.support.hostile import assert_it_ends

REPLACED = {
    "e-mail": [
        ("mail john.smith+cars@mail.example.co.uk today", "mail <EMAIL> today"),
        ("(jane@example.org)", "(<EMAIL>)"),
        ("<jane@example.org>", "<<EMAIL>>"),
        ("my email is john dot smith at gmail dot com", "my email is <EMAIL>"),
        ("email me at john smith 22 at gmail dot com please", "email me at <EMAIL> please"),
        ("It's j o h n underscore smith at outlook dot com.", "It's <EMAIL>."),
        ("john (at) gmail (dot) com", "<EMAIL>"),
        ("john @ gmail . com", "<EMAIL>"),
        ("anna snabel-a telia punkt se", "<EMAIL>"),
        ("my mail is justinsmith 125 yahoocom", "my mail is <EMAIL>"),
        ("write to @johnny", "write to <EMAIL>"),
        ("It's john dot smith, at hotmail, dot co dot uk.", "It's <EMAIL>."),
        ("mail a.b@example.org. Thanks", "mail <EMAIL>. Thanks"),
    ],
    "phone": [
        ("call me on 07700 900123.", "call me on <PHONE>."),
        ("call +44 (0)7700 900123 or +46 70-123 45 67", "call <PHONE> or <PHONE>"),
        ("ring 070-123 45 67", "ring <PHONE>"),
        ("070,123,45,67", "<PHONE>"),
        ("my number is oh seven double five one two three, four five six", "my number is <PHONE>"),
        ("noll sju noll ett tva tre fyra fem sex sju", "<PHONE>"),
        ("it's 1 2 3 4 5 6 7 8 9", "it's <PHONE>"),
        ("phone (555) 123-4567", "phone <PHONE>"),
        ("mobile 555.123.4567", "mobile <PHONE>"),
        ("+46 70 - 666 - 666 - 666 miles", "<PHONE> miles"),
        ("Volvo 07 - 666 - 666 - 666 £300", "Volvo <PHONE> £300"),
        ("password <NAME> +46 70 666 666 666", "password <NAME> <PASSWORD>"),
    ],
    "card": [
        ("card 4111 1111 1111 1111 thanks", "card <CARD> thanks"),
        ("4111-1111-1111-1111", "<CARD>"),
        ("4111,1111,1111,1111", "<CARD>"),
        ("4111111111111111", "<CARD>"),
        ("378282246310005", "<CARD>"),
        ("2015 4666 6666 6666 6669 miles", "<CARD> miles"),
        ("the last four of my card is four two one nine", "the last four of my card is <CARD>"),
    ],
    "account": [
        ("IBAN GB82 WEST 1234 5698 7654 32 and more", "IBAN <ACCOUNT> and more"),
        ("pay SE4550000000058398257466", "pay <ACCOUNT>"),
        ("sort code 20-00-00 account 12345678", "sort code <ACCOUNT> account <ACCOUNT>"),
        ("my account is under 445566", "my account is under <ACCOUNT>"),
        ("my account number is 2015", "my account number is <ACCOUNT>"),
        ("account 5.45E+15", "account <ACCOUNT>"),
    ],
    "password": [
        ("My PIN is 1234 and my password is hunter2!", "My PIN is <PASSWORD> and my password is <PASSWORD>"),
        ("the password was changed to Tr0ub4dor&3", "the password was changed to <PASSWORD>"),
        ("my mother's maiden name is Kowalski", "my mother's maiden name is <PASSWORD>"),
        ("the name of my first pet is rex", "the name of my first pet is <PASSWORD>"),
        ("cvv 123", "cvv <PASSWORD>"),
        ("losenordet ar hemligt99", "losenordet ar <PASSWORD>"),
    ],
    "id": [
        ("SSN 123-45-6789", "SSN <ID>"),
        ("personnummer 850709-9805", "personnummer <ID>"),
        ("19850709-9805", "<ID>"),
        ("order number 12345", "order number <ID>"),
        ("booking ref AB12CD", "booking ref <ID>"),
        ("the confirmation number is g 75 f 34", "the confirmation number is <ID>"),
        ("policy pvx 752197308", "policy <ID>"),
        ("AB 12 34 56 C", "<ID>"),
    ],
    "name": [
        ("my name is John Smith and I'm calling about the car", "my name is <NAME> and I'm calling about the car"),
        ("this is samson", "this is <NAME>"),
        ("This is Anna Svensson speaking, how can I help?", "This is <NAME> speaking, how can I help?"),
        ("I'm Björn. I'm delighted.", "I'm <NAME>. I'm delighted."),
        ("Jag heter Åsa Öberg och ringer om bilen", "Jag heter <NAME> och ringer om bilen"),
        ("Mr Thompson and Dear Mrs. O'Brien", "Mr <NAME> and Dear Mrs. <NAME>"),
        ("May I have your name? / Zbigniew Brzezinski / Thanks", "May I have your name? / <NAME> / Thanks"),
        ("what is your name?\nbartholomew\nthank you", "what is your name?\n<NAME>\nthank you"),
        ("spelled S-M-I-T-H and J O H N", "spelled <NAME> and <NAME>"),
        ("rajii 3454", "<NAME> <NUMBER>"),
        ("My surname is Young and my first name is Will.", "My surname is <NAME> and my first name is <NAME>."),
        ("tell Jennifer that I called", "tell <NAME> that I called"),
    ],
    "address": [
        ("I live at 12 Oak Street, Springfield, IL 62704. Bye", "I live at <ADDRESS>. Bye"),
        ("My address is Flat 3, 45 High Road, London SW1A 1AA. Thanks", "My address is <ADDRESS>. Thanks"),
        ("jag bor på Storgatan 12, 114 55 Stockholm", "jag bor på <ADDRESS>"),
        ("deliver to 114 55 Stockholm", "deliver to <ADDRESS>"),
        ("postcode M1 1AE", "postcode <ADDRESS>"),
        ("my zip code is 46202", "my zip code is <ADDRESS>"),
        ("dunston 46202", "dunston <NUMBER>"),  # a town beside a postcode is no name
    ],
    "date of birth": [
        ("date of birth is 12/03/1985", "date of birth is <DATE_OF_BIRTH>"),
        ("I was born on the 3rd of May 1985", "I was born on <DATE_OF_BIRTH>"),
        ("born March third nineteen eighty five", "born <DATE_OF_BIRTH>"),
        ("I am 34 and was born in 1991", "I am 34 and was born in <DATE_OF_BIRTH>"),
        ("dob 1985-07-09", "dob <DATE_OF_BIRTH>"),
        ("född 3 maj 1985", "född <DATE_OF_BIRTH>"),
    ],
    "network": [
        ("see https://example.com/u/john?id=3 now", "see <URL> now"),
        ("facebook.com/john.smith", "<URL>"),
        ("from 192.168.1.10 or 2001:db8::1", "from <IP_ADDRESS> or <IP_ADDRESS>"),
    ],
    "disguised": [
        ("\uff11\uff12\uff13\uff14 \uff15\uff16\uff17\uff18 \uff19\uff10\uff11\uff12", "<PHONE>"),  # full width
        ("call 07\u200b700\u200b900\u200b123 now", "call <PHONE> now"),  # zero-width spaces
        ("john\u200b@\u2060gmail.com", "<EMAIL>"),
        ("john\uff20gmail\uff0ecom", "<EMAIL>"),
        ("4111\u00a01111\u00a01111\u00a01111", "<CARD>"),  # spaces that do not break
        ("4111\u20111111\u20131111\u20141111", "<CARD>"),  # dashes
        ("\u0664\u0662\u0661\u0669 \u0661\u0662\u0663\u0664\u0665", "<PHONE>"),  # Arabic digits
        ("4111 1111\n1111 1111", "<CARD>"),
        ("07700\r\n900 123", "<PHONE>"),
        ("my name is A\u0301lva Lindgren", "my name is <NAME>"),  # a combining accent
    ],
}  # fmt: skip

KEPT = [
    "It costs 4,500 pounds and has 62,000 miles.",
    "It costs £4,500, a 2.0 litre from 2015 with 62000 miles, 150 hp",
    "The 2015 BMW 320d does 0 to 60 in 7.2 seconds, 99,000 kr or 120 000 kronor",
    "Volvo V70 2.4 D5 2008, 18 500 mil, asking 45 000",
    "Tesla Model 3 and Peugeot 3008 2019",
    "I could take two thousand off. Over thirty-six or sixty months.",
    "a bit over ninety thousand five hundred miles",
    "The twenty twenty one model, twenty four seven",
    "The price was 12995 and I offer 11500",
    "reg is AB12 CDE, registration number ABC 123",
    "We open at 9 on 12 May 2026 until 17:30",
    "my budget is between 8000 and 9500 pounds, total 11999.52",
    "Tyres are 225/45 R17, the tow limit is 1600 kg, 0-100 in 8.9",
    "Meet me at noon. Then we look at the dot on the map.",
    "Volvo 240 from 1988, Saab 900 turbo, Porsche 911",
    "can I pay in 36 months at 4.9 percent",
    "two owners, 5 doors, 3 keys and 12 months warranty",
    "The answer is simple, the password reset works",
    "I forgot my password and it does not work",
    "I'm looking for a car, I am happy and this is great",
    "It will be here in May, grant me that",
    "Wait at the end of the road. It has four wheel drive.",
    "Good morning, you are through to sales. / Is it still here? / Are the tyres worn?",
    "I will put your name down now. / Are the tyres worn?",
    "",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 na\u00efve \uff21\uff22\uff23 fa\u00e7ade",
]

HOSTILE = {
    "digits": "1" * 100_000,
    "at signs": "@" * 100_000,
    "introductions": "my name is " * 50_000,
    "one word": "a" * 1_000_000,
    "local parts": "a." * 100_000,
    "dashes": "a-" * 100_000,
    "spaced digits": "1 " * 100_000,
    "spaced letters": "a " * 100_000,
    "spoken digits": "one two " * 50_000,
    "commas": "111," * 50_000,
    "blanks": " " * 1_000_000,
    "line ends": "\n" * 1_000_000,
    "codes": "ab12 " * 40_000,
    "mixed": "1a" * 100_000,
    "streets": "1 a " * 50_000 + "street",
    "ats": "a at b " * 50_000,
    "passwords": "password for a " * 50_000,
    "addresses": "address is a " * 50_000,
    "invisible": "\u200b1" * 100_000,
    "placeholders": "<NAME> " * 50_000,
    "dates": "born 1 jan " * 30_000,
    "colons": "a:" * 100_000,
    "links": "http://" * 50_000,
    "brackets": "(" * 100_000 + "[at]" * 20_000,
}


@pytest.mark.parametrize(("text", "expected"), [case for cases in REPLACED.values() for case in cases])
def test_replaced(text: str, expected: str) -> None:
    assert redact(text).text == expected


@pytest.mark.parametrize("text", KEPT)
def test_kept(text: str) -> None:
    assert redact(text) == (text, {})


def test_counts_by_kind() -> None:
    assert redact("call +46 70 123 45 67 or 07700 900123, mail a.b@example.org").counts == {"PHONE": 2, "EMAIL": 1}


@pytest.mark.parametrize("text", [text for cases in REPLACED.values() for text, _ in cases])
def test_redacting_again_changes_nothing(text: str) -> None:
    once = redact(text).text
    assert redact(once) == (once, {})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_ends(name: str) -> None:
    assert_it_ends(HOSTILE[name])


def test_column_counts_rows_and_keeps_null() -> None:
    values = pa.chunked_array([pa.array(["mail a.b@example.org", None, "hello"]), pa.array(["mail a.b@example.org"])])
    redacted, counts = redact_column(values)
    assert redacted.to_pylist() == ["mail <EMAIL>", None, "hello", "mail <EMAIL>"]
    assert counts == {"EMAIL": 2}


@pytest.mark.parametrize("values", [pa.array([], pa.string()), pa.chunked_array([], pa.string())])
def test_column_without_rows(values: pa.Array | pa.ChunkedArray) -> None:
    assert redact_column(values)[0].to_pylist() == []
