"""What is declared in extracts/, and what is said of a declaration that is wrong."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.errors import TidemarkError
from flows.extract.databases.declared import Database, Table
from flows.extract.declared import load_declared
from flows.extract.worker import without_secrets
from flows.orchestrate.extract_jobs import extract_jobs, run_extract, say_what_is_wrong
from flows.orchestrate.job import Cron, Extract
from flows.orchestrate.validate import validate
from flows.settings import Settings
from tests.support.extracts import written

GOOD: dict[str, Any] = {
    "connection": {"kind": "postgres", "url_from": "CRM_URL"},
    "schedule": "*/15 * * * *",
    "extracts": {
        "accounts": {
            "table": "public.accounts",
            "columns": {
                "id": {"type": "bigint", "to": "account_id"},
                "user_id": "text",
                "updated_at": "timestamp with time zone",
            },
            "ignored": ["password_hash"],
            "cursor": "updated_at",
            "overlap": "15 min",
        }
    },
}


def with_changes(path: str, value: Any) -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    *above, last = path.split("/")
    inside = made
    for step in above:
        inside = inside[step]
    if value is None:
        del inside[last]
    else:
        inside[last] = value
    return made


def test_a_declaration_is_read(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    declared = load_declared(tmp_path)
    assert declared.faults == {}
    table = declared.one("crm").source.extracts["accounts"]
    assert isinstance(table, Table)
    assert (table.columns["id"].to, table.columns["user_id"].to) == ("account_id", "user_id")
    assert (table.overlap, table.page_rows) == (timedelta(minutes=15), 1_000_000)


ACCOUNTS = "extracts/accounts"
WRONG = [
    ("connection/kind", "oracle", "connection.kind: input should be one of .*postgres"),
    ("connection/url_from", "postgresql://me:hunter2@host/db", r"connection.url_from: string should match pattern"),
    ("connection", None, "connection: field required"),
    ("extracts", {}, "extracts: dictionary should have at least 1 item"),
    ("colour", "red", "colour: extra inputs are not permitted"),
    ("extracts/invoices", GOOD["extracts"]["accounts"], "extracts.invoices: the contract has no dataset of this name"),
    (f"{ACCOUNTS}/table", "accounts", "extracts.accounts.table: string should match pattern"),
    (f"{ACCOUNTS}/columns/user_id", {"type": "text", "to": "userid"}, "'userid' is no field.*did you mean 'user_id'"),
    (f"{ACCOUNTS}/columns/password_hash", "text", "columns.password_hash: 'password_hash' is no field of"),
    (f"{ACCOUNTS}/columns/user_id", None, "columns: no column becomes user_id, without which no row lands"),
    (f"{ACCOUNTS}/columns/other", {"type": "text", "to": "user_id"}, "'user_id' is the field of another column, too"),
    (f"{ACCOUNTS}/ignored", ["user_id"], "extracts.accounts.ignored: 'user_id' is among the columns, too"),
    (f"{ACCOUNTS}/cursor", "changed", "extracts.accounts.cursor: 'changed' is not among the columns"),
    (f"{ACCOUNTS}/overlap", None, "extracts.accounts.overlap: say with `cursor`, and only with it, how much later"),
    (f"{ACCOUNTS}/cursor", None, "extracts.accounts.overlap: say with `cursor`, and only with it"),
    (f"{ACCOUNTS}/overlap", "a while", "extracts.accounts.overlap: write a length of time such as '15 min'"),
    (f"{ACCOUNTS}/overlap", -1, "extracts.accounts.overlap: write a length of time"),
    (f"{ACCOUNTS}/page_rows", 0, "extracts.accounts.page_rows: input should be greater than or equal to 1"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[f"{path}={value}"[:60] for path, value, _ in WRONG])
def test_what_is_wrong_is_said_with_its_place_and_no_value_that_may_be_secret(
    tmp_path: Path, path: str, value: Any, words: str
) -> None:
    file = written(tmp_path, with_changes(path, value))
    written(tmp_path, GOOD, "other.yml")
    declared = load_declared(tmp_path)
    assert [one.name for one in declared.sources] == ["other"]
    with pytest.raises(TidemarkError, match=words) as raised:
        declared.one("crm")
    assert str(file) in str(raised.value) and "hunter2" not in str(raised.value)


@pytest.mark.parametrize("text", ["extracts: {a: 1, a: 2}", "", "[1, 2]", "a: [", "extracts: 5", "\x00", "- a\n- b"])
def test_what_is_no_declaration_stops_no_other(tmp_path: Path, text: str) -> None:
    written(tmp_path, text)
    written(tmp_path, GOOD, "other.yml")
    assert [*load_declared(tmp_path).faults] == [tmp_path / "crm.yml"]


def test_a_source_that_is_not_declared_is_said(tmp_path: Path) -> None:
    with pytest.raises(TidemarkError, match=r"no source 'crm' is declared in extracts/ \(none is\)"):
        load_declared(tmp_path).one("crm")
    written(tmp_path, GOOD)
    with pytest.raises(TidemarkError, match="did you mean 'crm'"):
        load_declared(tmp_path).one("cmr")


@pytest.fixture
def declared_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which it is declared what is extracted."""
    monkeypatch.setenv("TIDEMARK_EXTRACTS", str(tmp_path))
    return tmp_path


def test_each_source_with_a_schedule_is_a_job(declared_in: Path) -> None:
    written(declared_in, GOOD)
    written(declared_in, with_changes("schedule", None), "by_hand.yml")
    (job,) = extract_jobs(declared_in, "Europe/Stockholm")
    assert (job.name, job.runs, job.owner) == ("extract_crm", (Extract("crm"),), "customer-data")
    assert job.when == Cron("*/15 * * * *", "Europe/Stockholm")
    say_what_is_wrong(Settings())


@pytest.mark.parametrize(
    ("name", "read", "words"),
    [
        ("crm.v2.yml", GOOD, "crm.v2.yml: its name is that of a folder of the inbox"),
        ("a-b.yml", GOOD, "a-b.yml: its name"),
        ("good.yaml", GOOD, "good.yaml: its name"),
        ("crm.yml", "no: source", "crm.yml: connection: field required"),
        ("crm.yml", with_changes("schedule", "0 0 * * * *"), "crm.yml: job extract_crm: when: .* is not minute"),
        ("crm.yml", with_changes("schedule", "0 0 31 2 *"), "crm.yml: job extract_crm: when: .* is no cron expression"),
        ("crm.yml", with_changes("owner", "nobody"), "crm.yml: job extract_crm: owner: no owner nobody"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_is_said_hourly_and_stops_no_other(
    declared_in: Path, name: str, read: Any, words: str
) -> None:
    written(declared_in, GOOD, "good.yml")
    written(declared_in, read, name)
    jobs = [*extract_jobs(declared_in, "Europe/Stockholm")]
    validate(jobs)
    assert [job.name for job in jobs] == ["extract_good", "extracts_wrong"]
    assert jobs[1].when == Cron("0 * * * *", "Europe/Stockholm")
    assert load_declared(declared_in).one("good").source.schedule
    with pytest.raises(TidemarkError, match=words):
        run_extract(Settings(), jobs[1].runs[0].what, print)  # type: ignore[union-attr]


def test_what_is_delivered_as_it_is_may_have_the_shape_of_a_feed(declared_in: Path) -> None:
    topic = {"topic": "enriched", "format": "json"}
    source = {"connection": {"kind": "kafka", "url_from": "K"}, "schedule": "* * * * *"}
    written(declared_in, source | {"extracts": {"snowplow": topic}}, "tracker.yml")
    written(declared_in, GOOD | {"extracts": {"snowplow": GOOD["extracts"]["accounts"]}})
    jobs = [*extract_jobs(declared_in, "Europe/Stockholm")]
    assert [(job.name, job.owner) for job in jobs] == [
        ("extract_tracker", "data-platform"),
        ("extracts_wrong", "data-platform"),
    ]
    with pytest.raises(TidemarkError, match=r"extracts\.snowplow: the contract has no dataset of this name"):
        load_declared(declared_in).one("crm")


def test_an_extract_that_is_declared_may_be_a_step(declared_in: Path) -> None:
    written(declared_in, GOOD)
    (job,) = extract_jobs(declared_in, "Europe/Stockholm")
    for what, words in [
        ("crm.invoices", r"extracts/crm.yml has no invoices \(.*accounts"),
        ("cms", "'cms' is neither package.module:function nor a source in extracts/"),
    ]:
        with pytest.raises(TidemarkError, match=words):
            validate([replace(job, runs=(Extract(what),))])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:p%40ss%2Fword@host/db",
        "postgresql://host:5432/db?user=me&password=p%40ss%2Fword&sslmode=require",
        "host=db user=me password=p@ss/word dbname=x",
    ],
)
@pytest.mark.parametrize("said", ["cannot reach {}", "password p@ss/word was wrong", "{} p@ss/word"])
def test_no_form_of_a_password_is_said(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_URL", url)
    found = without_secrets(said.format(url), Database(kind="postgres", url_from="CRM_URL").secrets())
    assert "ss/word" not in found and "ss%2Fword" not in found and "***" in found
