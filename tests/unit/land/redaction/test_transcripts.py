"""Transcripts and speech: speakers, numbers said in parts, number words, and names in two languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.land.redaction.redact import redact
from tests.support.hostile import assert_it_ends

REPLACED = {
    "speakers": [
        ("Agent: what's your name please\nCustomer: Zeinab Ahmadi", "Agent: what's your name please\nCustomer: <NAME>"),
        ("A: what's your name please\nC: Zeinab Ahmadi", "A: what's your name please\nC: <NAME>"),
        ("Speaker 1: your name?\nSpeaker 2: uh Zeinab Ahmadi", "Speaker 1: your name?\nSpeaker 2: <NAME>"),
        ("[00:12] Agent: your name?\n[00:14] Kund: Zeinab", "[00:12] Agent: your name?\n[00:14] Kund: <NAME>"),
        ("Agent: your name?\nKund: Sure.\nKund: Zeinab", "Agent: your name?\nKund: Sure.\nKund: <NAME>"),
        ("Agent: who?\nzeinab: me\nzeinab: yes", "Agent: who?\n<NAME>: me\n<NAME>: yes"),
        ("A: Name please?\nB: Zbigniew", "A: Name please?\nB: <NAME>"),
        ("Agent: who?\nZeinab: me\nZeinab: yes", "Agent: who?\n<NAME>: me\n<NAME>: yes"),
    ],
    "numbers over turns": [
        (
            "Customer: it's 07700\nAgent: 07700, yes\nCustomer: 900\nAgent: 900\nCustomer: 123",
            "Customer: it's <PHONE>\nAgent: <PHONE>, yes\nCustomer: <PHONE>\nAgent: <PHONE>\nCustomer: <PHONE>",
        ),
        ("A: zero seven seven\nB: yes\nA: double oh nine one", "A: <PHONE>\nB: yes\nA: <PHONE>"),
        ("noll sju tre\nja\nfyra fem sex\nmm\nsju åtta nio", "<PHONE>\nja\n<PHONE>\nmm\n<PHONE>"),
        (
            "zero seven\nyeah\nseven oh oh\nuh huh\nnine hundred\nok\none two three",
            "<PHONE>\nyeah\n<PHONE>\nuh huh\n<PHONE>\nok\n<PHONE>",
        ),
        (
            "call me at 070 hmm wait 123 yes and then 45 67",
            "call me at <PHONE> hmm wait <PHONE> yes and then <PHONE>",
        ),
        ("07700 | 900 | 123", "<PHONE>"),
        ("07700 * 900 * 123", "<PHONE>"),
        ("07700 ~ 900 ~ 123", "<PHONE>"),
        ("07700; 900; 123", "<PHONE>"),
        ("07700 \u2022 900 \u2022 123", "<PHONE>"),
    ],
    "number words": [
        ("nummer noll sjuttio tre hundra fyrtiofem sextiosju åttionio", "nummer <NUMBER>"),
        (
            "mitt personnummer är åttiofem noll sju noll nio nittioåtta noll fem",
            "mitt personnummer är <ID>",
        ),
        ("född den nionde juli nittonhundraåttiofem", "född <DATE_OF_BIRTH>"),
        ("född nittonhundraåttiofem", "född <DATE_OF_BIRTH>"),
        ("sort code twenty thirty forty", "sort code <ACCOUNT>"),
        ("password is, capital S, summer twenty twenty six", "password is, <PASSWORD>"),
    ],
    "e-mail": [
        ("zeinab understreck ahmadi snabel a hotmail punkt se", "<EMAIL>"),
        ("kalle(a)kula.se", "<EMAIL>"),
        ("min mejladress är zeinab nittio at gmail punkt com", "min mejladress är <EMAIL>"),
    ],
    "addresses": [
        ("bor på Vasagatan tolv", "bor på <ADDRESS>"),
        ("Bondegatan nr 12", "<ADDRESS>"),
        ("vi bor på Söder Mälarstrand 21", "vi bor på <ADDRESS>"),
        ("Strandpromenaden 7", "<ADDRESS>"),
        ("Esplanaden 3B", "<ADDRESS>"),
        (f"Vasagatan 12 {'och det är bra ' * 8}", f"<ADDRESS> {'och det är bra ' * 8}"),
        ("fourteen Larch Close", "<ADDRESS>"),
        ("it is one two one High Street", "it is <ADDRESS>"),
        ("my postcode is S W one A one A A", "my postcode is <ADDRESS>"),
    ],
    "names": [
        ("hi my name is, uh, Zbigniew Brzezinski", "hi my name is, uh, <NAME>"),
        ("hej mitt namn är, eh, Lindqvist", "hej mitt namn är, eh, <NAME>"),
        ("mitt efternamn är Lindqvist", "mitt efternamn är <NAME>"),
        ("du pratar med Lindqvist", "du pratar med <NAME>"),
        ("jag söker Per-Olov Enquist", "jag söker <NAME>"),
        ("please call back Mister Okonkwo", "please call back Mister <NAME>"),
        ("Doctor Okonkwo told me", "Doctor <NAME> told me"),
        ("mvh Ingegerd", "mvh <NAME>"),
        ("tjena Kalle här", "tjena <NAME> här"),
        ("det blir bra /Lasse", "det blir bra /<NAME>"),
        ("the seller is called Jean-Baptiste de la Tour", "the seller is called <NAME>"),
        ("jag såg Hjördis Gunnarsson", "jag såg <NAME>"),
        ("snapchat kallekula", "snapchat <NAME>"),
        ("find me on facebook as Kalle Kula", "find me on facebook as <NAME>"),
        ("Bertil Johansson köpte bilen", "<NAME> köpte bilen"),
    ],
}  # fmt: skip
CASES = [case for cases in REPLACED.values() for case in cases]

KEPT = [
    "Agent: hello there\nCustomer: is it still here?\nAgent: yes it is",
    "Price: 4500\nYear: 2015\nPrice: 300",
    "I saw it on facebook marketplace",
    "jag söker en bil",
    "the doctor said no",
    "it has one owner, yes, two keys and 4 doors ok",
    "two nice places close by",
    "hela vägen ett hus",
    "hej finns bilen kvar",
    "hej Snygg bil",
    "Agent: vad heter du?",
    "three hundred kilometres of road",
    "tjugo tusen kronor och femton mil",
]

HOSTILE = {
    "labels": "Agent: a\n" * 40_000,
    "numbers of speakers": "A: 1\nB: ok\n" * 30_000,
    "names of speakers": "Zeinab: 12\nAgent: yes\n" * 20_000,
    "lines of colons": "\na:" * 100_000,
    "fillers": "one ok " * 50_000,
    "more fillers": "1 yes ok mm " * 40_000,
    "tens": "tjugo" * 50_000,
    "spoken streets": "twenty one a " * 40_000 + "street",
    "networks": "facebook" + " is" * 100_000,
    "particles": "my name is Anna" + " de la" * 50_000,
    "hesitations": "name is" + " uh," * 50_000,
    "surnames": "Aaaa svensson" * 20_000,
    "years": "fodd den tjugoforsta " * 30_000,
    "bars": "1 | " * 50_000,
    "passwords": "password is, capital s, " * 20_000,
}


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_replaced(text: str, expected: str) -> None:
    assert redact(text).text == expected


@pytest.mark.parametrize("text", KEPT)
def test_kept(text: str) -> None:
    assert redact(text) == (text, {})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_ends(name: str) -> None:
    assert_it_ends(HOSTILE[name])


@pytest.mark.parametrize("text", [text for text, _ in CASES])
def test_redacting_again_changes_nothing(text: str) -> None:
    once = redact(text).text
    assert redact(once) == (once, {})


LABELS = st.sampled_from(["Agent", "Customer", "A", "Speaker 1", "Zeinab", "Anna", "Name", "[00:12] Kund", "<NAME>"])
SAID = st.sampled_from([
    "what's your name?", "Zeinab Ahmadi", "07700", "900, yes", "zero seven", "mm", "", "it's 12 Oak Street", "at gmail",
    "password is", "född", "nionde juli 1985", "my e-mail is", "Anna", "facebook as", "<PHONE>",
])  # fmt: skip


@given(st.lists(st.tuples(LABELS, SAID).map(": ".join), max_size=8).map("\n".join))
def test_any_transcript_twice_is_as_once(text: str) -> None:
    once = redact(text).text
    assert redact(once).text == once


@given(
    st.lists(st.sampled_from(["yes", "mm", "ok", "uh huh", "ja", "hmm wait"]), min_size=3, max_size=3), st.booleans()
)
def test_number_between_fillers(fillers: list[str], labelled: bool) -> None:
    turns = [turn for pair in zip(["0770", "66", "777", "888"], [*fillers, "thanks"], strict=True) for turn in pair]
    lines = [f"{'Customer' if place % 2 == 0 else 'Agent'}: {turn}" for place, turn in enumerate(turns)]
    text = redact("\n".join(lines if labelled else turns)).text
    assert set("678").isdisjoint(text)
