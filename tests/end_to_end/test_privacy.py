"""Nobody of the sample is found past landing, in any byte of any store: lake, warehouse, publications, logs, caches."""

import re

import duckdb
import pyarrow.parquet as pq
import pytest

from flows.build.build import Build
from flows.land.land import Landing
from flows.land.receipt import day_in
from flows.land.text import read_text
from flows.publish.publish import Publication
from flows.settings import Settings
from tests.support.lake import KEY
from tests.support.stored import files_that_say, stored, values

Run = tuple[Settings, Landing, Build, Publication]
# How people of the sample are named and reached. What is shorter is looked for in values alone: compressed bytes may
# be anything.
LONG = [
    rb"person\d+[.\d]*@example\.org", rb"[a-z]+\.[a-z]+@example\.org", rb"70[ -]?174[ -]?06",
    rb"Exempelsson", rb"Provberg", rb"Testgren", "Låtsaslund".encode(),
    "Påhitt(?![a-z])".encode(), rb"Provgatan", rb"\bd-[0-9a-f]{11}\b", rb"192\.0\.2\.\d", rb"Mozilla/5\.0",
    rb"Exempelgatan", "Provvägen".encode(), rb"Testbacken", "Låtsasgränd".encode(), "Provköping".encode(), rb"Testinge",
    rb"\b(?:19[4-9]\d|200[0-5])-[01]\d-[0-3]\d\b",
]  # fmt: skip
SHORT = [rb"\bu-\d+\b", rb"\bk-\d+\b"]
# How Python shows a day that people of the sample were born on.
BORN = [rb"datetime\.date\((?:19[4-9]\d|200[0-5]), "]
IN_BYTES, IN_VALUES = (re.compile(b"|".join(patterns)) for patterns in (LONG, LONG + SHORT + BORN))


def test_the_sample_has_people_in_its_inbox(sample_run: Run) -> None:
    """What the others look for is there, or they could not fail."""
    delivered = b"".join(path.read_bytes() for path in sample_run[0].inbox.rglob("*.csv"))
    calls = pq.read_table(sample_run[0].inbox / "telephony" / "calls").column("transcript").to_pylist()
    assert re.search(SHORT[0], delivered)
    events = b"".join(path.read_bytes() for path in sample_run[0].inbox.rglob("*.ndjson"))
    everything = delivered + events + "\n".join(calls).encode()
    assert [pattern for pattern in LONG if not re.search(pattern, everything)] == []


def test_nobody_is_found_in_any_byte_past_landing(sample_run: Run) -> None:
    found: dict[str, set[bytes]] = {}
    for path in stored(sample_run[0]):
        name = str(path.relative_to(sample_run[0].home))
        found.setdefault(name, set()).update(IN_BYTES.findall(path.read_bytes()), IN_VALUES.findall(name.encode()))
        for said in values(path):
            found[name].update(IN_VALUES.findall(said))
    assert {name: people for name, people in found.items() if people} == {}
    assert {"lake", "warehouse", "published"} <= {name.split("/")[0] for name in found}


def test_of_birth_dates_and_addresses_the_year_and_the_country_are_left(sample_run: Run) -> None:
    settings = sample_run[0]
    with duckdb.connect(str(settings.published / "current" / "marts.duckdb"), read_only=True) as marts:
        decades = {decade for (decade,) in marts.execute("select distinct birth_decade from dim_accounts").fetchall()}
        lands = {country for (country,) in marts.execute("select distinct country from dim_accounts").fetchall()}
    assert decades == {1940, 1950, 1960, 1970, 1980, 1990, 2000}
    assert lands == {"SE", "NO", "FI", "DK", None}


def test_what_the_text_store_keeps_names_nobody(sample_run: Run) -> None:
    settings = sample_run[0]
    days = [day_in(folder) for folder in settings.text.glob("calls/*")]
    texts = [
        text for day in days for part in read_text(settings, "calls", day) for text in part["transcript"].to_pylist()
    ]
    assert sum("test drive" in text for text in texts) > 0
    assert all(sum(f"<{kind}>" in text for text in texts) > 0 for kind in ("PHONE", "NAME", "EMAIL", "ADDRESS"))
    assert [text for text in texts if IN_VALUES.search(text.encode())] == []


@pytest.mark.parametrize("name", ["pseudonym", "master"])
def test_no_key_is_in_any_file_but_its_own(sample_run: Run, name: str) -> None:
    settings = sample_run[0]
    key = settings.key_file(name).read_bytes().strip() if settings.key_file(name).exists() else KEY.encode()
    assert files_that_say(settings, key) == []
