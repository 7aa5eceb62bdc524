"""Files that others put into a bucket: each comes once, byte by byte, and again where it was overwritten."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import object_store
from flows.errors import TidemarkError
from flows.extract import run as running
from flows.extract.declared import load_declared
from flows.extract.errors import MayPassError
from flows.extract.object_store import objects
from flows.extract.run import Extracted, extract
from flows.land.receipt import Status
from flows.settings import Settings
from tests.support.lake import Lake
from tests.support.object_store import SECRET, Asked, ObjectStore, refusal, served_object_store
from tests.support.patience import until

EVENT = (
    '{{"event_id":"0191f3c2-8a44-7c1e-9d3b-5e2f7a6b{0:04x}","occurred_at":"2026-01-15T20:15:04.123Z",'
    '"received_at":"2026-01-15T20:15:05.410Z","product":"news","platform":"ios","device_id":"d-81f3",'
    '"consent":["analytics"],"content_view":{{"content_id":"c-1","content_type":"article"}}}}\n'
)


def event(number: int) -> bytes:
    return EVENT.format(number).encode()


@pytest.fixture(autouse=True)
def _quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(running, "LONGEST_WAIT_SECONDS", 0.01)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with served_object_store() as served:
        for name, value in served.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TEST_DROP_URL", f"{served.url}/drop")
        yield served


Declare = Callable[..., Settings]


@pytest.fixture
def declare(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declare the source drop with this connection; the settings of the lake."""

    def made(path: str = "web/**", connection: dict[str, str] | None = None, **more: str) -> Settings:
        folder = tmp_path / "extracts"
        folder.mkdir(exist_ok=True)
        read: dict[str, Any] = {
            "connection": {"kind": "s3", "url_from": "TEST_DROP_URL", **(connection or {})},
            "extracts": {"events": {"path": path}, **{name: {"path": given} for name, given in more.items()}},
        }
        (folder / "drop.yml").write_text(yaml.safe_dump(read))
        monkeypatch.setenv("TIDEMARK_EXTRACTS", str(folder))
        monkeypatch.setenv("TIDEMARK_HOME", str(lake.settings.home))
        return lake.settings.model_copy(update={"extracts": folder})

    return made


def fetched(settings: Settings, dataset: str = "events") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (settings.inbox / "drop" / dataset).glob("extract-*/[!.]*")}


def fetch(settings: Settings) -> Extracted:
    """As :func:`extract` in this process, without another try: a process takes its time to begin."""
    declared, notes = load_declared(settings.extracts).one("drop"), list[str]()
    return Extracted(
        tuple(objects.deliver(settings, declared, [*declared.source.extracts], notes.append)), tuple(notes)
    )


def names(done: Extracted) -> list[str]:
    return [file.name.rpartition("/")[2] for file in done.files]


def test_objects_come_once_and_again_when_overwritten(store: ObjectStore, declare: Declare, lake: Lake) -> None:
    settings = declare()
    store.put("drop/web/2026/a.ndjson", event(1))
    store.put("drop/web/b.ndjson", event(2))
    store.put("elsewhere/web/c.ndjson", event(3))
    done = fetch(settings)
    assert names(done) == ["web%2F2026%2Fa.ndjson", "web%2Fb.ndjson"]
    assert [file.rows for file in done.files] == [None, None]
    assert fetched(settings) == {"web%2F2026%2Fa.ndjson": event(1), "web%2Fb.ndjson": event(2)}
    assert not fetch(settings).files
    assert [r.rows_landed for r in lake.land().receipts] == [1, 1]
    store.asked.clear()
    assert not fetch(settings).files
    assert [asked.key for asked in store.asked] == [""]  # it was listed, and nothing read
    store.put("drop/web/b.ndjson", event(2) + event(4))
    assert names(fetch(settings)) == ["web%2Fb.ndjson"]
    (receipt,) = lake.land().receipts
    assert (receipt.status, receipt.rows_landed) == (Status.LANDED, 2)


def test_what_is_lost_of_etags_costs_no_more_than_reading_again(
    store: ObjectStore, declare: Declare, lake: Lake
) -> None:
    settings = declare()
    store.put("drop/web/a.ndjson", event(1))
    fetch(settings)
    lake.land()
    (seen,) = settings.lake.glob(".extract.drop.events.*.etags")
    seen.write_text('["cut off as the machine')
    assert not fetch(settings).files  # the same bytes lie there
    assert not lake.land().receipts
    for path in settings.inbox.rglob("*.ndjson"):
        path.unlink()
    assert not fetch(settings).files
    seen.unlink()
    fetch(settings)
    assert not lake.land().receipts


ODD = {
    "a b.ndjson": "a b.ndjson",
    "föö/ü.ndjson": "föö%2Fü.ndjson",
    "../up.ndjson": "%2E.%2Fup.ndjson",
    "x/../../y.ndjson": "x%2F..%2F..%2Fy.ndjson",
    "/leading.ndjson": "%2Fleading.ndjson",
    "twice//slashed.ndjson": "twice%2F%2Fslashed.ndjson",
    "100%2F.ndjson": "100%252F.ndjson",
    "a=b+c&d?e#f'\"*[x].ndjson": "a=b+c&d?e#f'\"*[x].ndjson",
    "CAPITALS.NDJSON.GZ": "CAPITALS.NDJSON.GZ",
}


def test_odd_keys_come_and_what_landing_passes_over_does_not(store: ObjectStore, declare: Declare) -> None:
    settings = declare("**")
    for number, key in enumerate(ODD):
        store.put(f"drop/{key}", event(number))
    for key in ("web/", "_SUCCESS", ".hidden.ndjson", "web/x.ndjson.tmp", "_temporary/0/part.ndjson"):
        store.put(f"drop/{key}", b"" if key.endswith("/") else event(99))
    store.put("drop/notes.xlsx", b"x")
    store.put("drop/empty.ndjson", b"")
    done = fetch(settings)
    assert {*fetched(settings)} == {*ODD.values(), "empty.ndjson"}
    assert fetched(settings)["empty.ndjson"] == b""
    (said,) = done.notes
    assert "notes.xlsx" in said and ".ndjson" in said and said.startswith("drop.events: ")


def test_more_than_a_page_of_objects(store: ObjectStore, declare: Declare) -> None:
    settings = declare("**/*.ndjson")
    for number in range(31):
        store.put(f"drop/{number % 7}/{number:04}.ndjson", event(number))

    def before(asked: Asked) -> None:
        if "list-type" in asked.query:
            asked.environ["QUERY_STRING"] += "&max-keys=7"

    store.before = before
    assert len(fetch(settings).files) == 31
    assert sum("list-type" in asked.query for asked in store.asked) == 5
    assert sorted(fetched(settings).values()) == sorted(map(event, range(31)))


def broken(asked: Asked, store: ObjectStore) -> Any:
    """An object is refused, one is not given for long, one is deleted as it is read."""
    if asked.method != "GET":
        return None
    if asked.key.endswith("denied.ndjson"):
        return refusal("403 Forbidden", "AccessDenied")
    if asked.key.endswith("slow.ndjson"):
        return refusal("503 Slow Down", "SlowDown")
    if asked.key.endswith("gone.ndjson"):
        store.delete(asked.key)
    return None


def test_one_bad_object_stops_no_other(store: ObjectStore, declare: Declare) -> None:
    settings = declare("web/**", accounts="accounts/*")
    for name in ("a", "denied", "gone", "slow", "z"):
        store.put(f"drop/web/{name}.ndjson", event(1))
    store.put("drop/accounts/one.ndjson", b"{}")
    store.before = lambda asked: broken(asked, store)
    with pytest.raises(TidemarkError) as raised:
        fetch(settings)
    said = str(raised.value)
    assert "2 objects could not be fetched" in said
    assert f"{store.url}/drop/web/denied.ndjson" in said and "AccessDenied" in said and "slow.ndjson" in said
    assert SECRET not in said
    assert {*fetched(settings)} == {"web%2Fa.ndjson", "web%2Fz.ndjson"}
    assert {*fetched(settings, "accounts")} == {"accounts%2Fone.ndjson"}
    store.heal()
    assert names(fetch(settings)) == ["web%2Fdenied.ndjson", "web%2Fslow.ndjson"]


def test_a_dataset_that_cannot_be_listed_stops_no_other(store: ObjectStore, declare: Declare) -> None:
    settings = declare("web/**", accounts="accounts/*")
    store.put("drop/accounts/one.ndjson", b"{}")
    store.before = lambda asked: refusal("503 Slow Down", "SlowDown") if "web" in asked.query else None
    with pytest.raises(MayPassError, match=r"drop\.events: .*SlowDown"):
        fetch(settings)
    assert {*fetched(settings, "accounts")} == {"accounts%2Fone.ndjson"}


def test_an_object_that_is_gone_is_said(store: ObjectStore, declare: Declare) -> None:
    settings = declare()
    store.put("drop/web/gone.ndjson", event(1))
    store.before = lambda asked: broken(asked, store)
    assert ["deleted before they could be read" in note for note in fetch(settings).notes] == [True]


@pytest.mark.parametrize("wrong", ["cut", "other bytes"])
def test_bytes_that_do_not_come_as_they_are_never_stand_in_the_inbox(
    wrong: str, store: ObjectStore, declare: Declare
) -> None:
    settings, data = declare(), b"".join(map(event, range(5_000)))
    store.put("drop/web/big.ndjson", data)
    bad = [2]  # times; then it is well

    def body(asked: Asked, sent: bytes) -> bytes:
        if not asked.key.endswith("big.ndjson") or not bad[0]:
            return sent
        bad[0] -= 1
        return sent[: len(sent) // 2] if wrong == "cut" else sent[:-3] + b" }\n"

    store.body = body
    assert names(fetch(settings)) == ["web%2Fbig.ndjson"]
    assert bad == [0]
    assert fetched(settings) == {"web%2Fbig.ndjson": data}
    bad[0] = 1_000
    store.put("drop/web/big.ndjson", data + event(1))
    with pytest.raises(MayPassError, match=r"big\.ndjson"):
        fetch(settings)
    assert fetched(settings) == {"web%2Fbig.ndjson": data}
    assert not [*settings.inbox.rglob("*.partial")]


def test_a_refused_file_comes_again_once_it_is_overwritten(store: ObjectStore, declare: Declare, lake: Lake) -> None:
    settings = declare()
    store.put("drop/web/a.ndjson.gz", b"no gzip")
    fetch(settings)
    assert lake.land().receipts[0].status is Status.REFUSED
    store.asked.clear()
    assert not fetch(settings).files
    assert [asked.key for asked in store.asked] == [""]
    store.put("drop/web/a.ndjson.gz", b"nor this")
    assert names(fetch(settings)) == ["web%2Fa.ndjson.gz"]


def wrong_keys(_: Asked) -> Any:
    return refusal("403 Forbidden", "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"TEST_DROP_URL": "https://x/y"}, r"TEST_DROP_URL is no address of a bucket"),
        ({"TEST_DROP_URL": ""}, r"TEST_DROP_URL is not set"),
        ({"TEST_DROP_URL": "s3://no-such-bucket/x"}, r"no such bucket"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, r"there are no credentials; set AWS_ACCESS_KEY_ID"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, r"cannot be listed now"),
        ({"AWS_ENDPOINT_URL": "no endpoint"}, r"endpoint"),
    ],
)
def test_what_is_wrong_with_a_connection_is_said(
    wrong: dict[str, str], said: str, store: ObjectStore, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = declare()
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(settings.home))
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TidemarkError, match=said):
        fetch(settings)


def test_wrong_credentials_are_said_without_them(store: ObjectStore, declare: Declare) -> None:
    store.before = wrong_keys
    with pytest.raises(TidemarkError, match=r"does not take the credentials \(SignatureDoesNotMatch\)") as raised:
        extract(declare(), "drop")
    assert SECRET not in str(raised.value)


def test_variables_of_its_own(store: ObjectStore, declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    names_of = {
        "endpoint_url_from": "AWS_ENDPOINT_URL",
        "access_key_id_from": "AWS_ACCESS_KEY_ID",
        "secret_access_key_from": "AWS_SECRET_ACCESS_KEY",
        "region_from": "AWS_DEFAULT_REGION",
    }
    settings = declare(connection={name: f"DROP_{name.upper()}" for name in names_of})
    for name, variable in names_of.items():
        monkeypatch.setenv(f"DROP_{name.upper()}", store.variables[variable])
        monkeypatch.delenv(variable)
    store.put("drop/web/a.ndjson", event(1))
    assert len(fetch(settings).files) == 1


def test_a_store_that_is_away_is_tried_again(store: ObjectStore, declare: Declare) -> None:
    settings = declare()
    for number in range(30):
        store.put(f"drop/web/{number:02}.ndjson", event(number))
    bad = [40]

    def before(asked: Asked) -> Any:
        if asked.method == "GET" and asked.key and bad[0]:
            bad[0] -= 1
            return refusal("503 Slow Down", "SlowDown")
        return None

    store.before = before
    assert len(extract(settings, "drop").files) == 30
    assert len(fetched(settings)) == 30


def test_killed_anywhere_the_next_run_goes_on(store: ObjectStore, declare: Declare, lake: Lake) -> None:
    settings = declare()
    for number in range(40):
        store.put(f"drop/web/{number:02}.ndjson", event(number))
    for kill_at in (1, 15, 39):
        came: list[str] = []
        store.after = lambda asked, came=came: came.append(asked.key) if asked.key else None  # type: ignore[misc]
        command = [sys.executable, "-P", "-m", "flows.extract.worker", "drop", "events"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            until(lambda: len(came) >= kill_at or process.poll() is not None)  # noqa: B023
            process.send_signal(signal.SIGKILL)
    store.heal()
    fetch(settings)
    assert fetched(settings) == {f"web%2F{number:02}.ndjson": event(number) for number in range(40)}
    assert not [*settings.inbox.rglob(".*")]
    assert sum(receipt.rows_landed for receipt in lake.land().receipts) == 40


def test_without_the_client_it_says_what_to_install(
    store: ObjectStore, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(TidemarkError, match=r"pip install 'tidemark\[sources\]'"):
        object_store.Store("s3://bucket")
