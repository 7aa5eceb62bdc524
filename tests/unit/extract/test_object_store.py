"""What is declared of a bucket, and what its objects are called in the inbox."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.extract.declared import load_declared
from flows.extract.object_store.declared import Bucket, Objects
from flows.extract.object_store.names import Seen, inbox_name, is_temporary

NAMES = {
    "web/2026-01-15/part-1.ndjson.gz": "web%2F2026-01-15%2Fpart-1.ndjson.gz",
    "a b.ndjson": "a b.ndjson",
    "föö/ü.ndjson": "föö%2Fü.ndjson",
    "../up.ndjson": "%2E.%2Fup.ndjson",
    "x/../../y.ndjson": "x%2F..%2F..%2Fy.ndjson",
    "/leading.ndjson": "%2Fleading.ndjson",
    "100%2F.ndjson": "100%252F.ndjson",
    "line\nbreak\0.ndjson": "line%0Abreak%00.ndjson",
}


def declared(folder: Path, connection: dict[str, str], path: str = "web/**") -> Any:
    read = {"connection": {"kind": "s3", **connection}, "extracts": {"events": {"path": path}}}
    (folder / "drop.yml").write_text(yaml.safe_dump(read))
    return load_declared(folder)


def test_a_declaration_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"access_key_id_from": "KEY_ID", "secret_access_key_from": "KEY"}
    (source,) = declared(tmp_path, {"url_from": "DROP_URL", **keys}).sources
    connection = source.source.connection
    assert isinstance(connection, Bucket)
    assert connection.variables() == ("DROP_URL", "KEY_ID", "KEY")
    monkeypatch.setenv("DROP_URL", "s3://drop")
    monkeypatch.setenv("KEY", "a secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    assert {*connection.secrets()} >= {"a secret", "another"}
    assert "s3://drop" not in {*connection.secrets()}


@pytest.mark.parametrize(
    ("connection", "path", "said"),
    [
        ({}, "web/**", "connection.url_from: field required"),
        ({"url_from": "U", "access_key_id_from": "K"}, "web/**", "named both, or neither"),
        ({"url_from": "U", "session_token_from": "K"}, "web/**", "session_token_from goes with"),
        ({"url_from": "s3://drop"}, "web/**", "connection.url_from: string should match"),
        ({"url_from": "U"}, "/web/**", "without a slash at the beginning"),
        ({"url_from": "U"}, "web/**.json", "** stands for folders"),
        ({"url_from": "U"}, "", "path: string should have at least 1 character"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_said(
    connection: dict[str, str], path: str, said: str, tmp_path: Path
) -> None:
    (fault,) = declared(tmp_path, connection, path).faults.values()
    assert said in fault


def test_another_path_is_another_folder() -> None:
    assert Objects(path="a/*").mark() != Objects(path="a/**").mark()


def test_each_key_has_a_name_of_its_own() -> None:
    assert {key: inbox_name(key) for key in NAMES} == NAMES
    long = [f"{'ä' * 400}/{number}/{'x' * 300}.ndjson.gz" for number in range(3)]
    made = {inbox_name(key) for key in long}
    assert len(made) == 3
    assert all(len(name.encode()) < 240 and name.endswith(".ndjson.gz") for name in made)


def test_temporary_names_are_those_of_landing() -> None:
    assert [
        key for key in ("a/b.json", "a/_b.json", ".a/b.json", "a/b.json.tmp", "a/../b.json") if is_temporary(key)
    ] == [
        "a/_b.json",
        ".a/b.json",
        "a/b.json.tmp",
    ]


def test_what_was_seen_is_read_again_and_a_cut_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "etags"
    seen = Seen(path)
    seen.add("a", '"1"')
    seen.add("b", '"2"')
    seen.add("a", '"3"')
    path.write_text(path.read_text() + '["c", "4')
    again = Seen(path)
    assert [again.has("a", '"1"'), again.has("a", '"3"'), again.has("b", '"2"'), again.has("c", '"4')] == [
        False,
        True,
        True,
        False,
    ]
    again.add("d", '"5"')
    assert Seen(path).has("d", '"5"')
