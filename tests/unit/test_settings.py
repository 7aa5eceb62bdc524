"""Settings are checked when they are read: what is wrong is reported before anything is made."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from flows.cli import main
from flows.settings import Settings, explain


def why_not(**given: object) -> str:
    with pytest.raises(ValidationError) as error:
        Settings(**given)  # type: ignore[arg-type]
    return str(error.value)


@pytest.mark.parametrize(
    "limit",
    ["8GB", "8 GB", "8gb", "8G", "512MB", "512m", "1.5GiB", ".5GB", "8.GB", "1TiB", "700000KB", "800000000B", " 8GB "],
)
def test_a_memory_limit_that_is_taken_is_one_that_duckdb_works_with(limit: str) -> None:
    taken = Settings(home=Path("data"), memory_limit=limit).memory_limit
    with duckdb.connect() as db:
        db.execute(f"set memory_limit = '{taken}'")
        assert db.execute("select sum(i) from range(100_000) as t(i)").fetchone() == (4_999_950_000,)


@pytest.mark.parametrize(
    "limit",
    ["lots", "", " ", "0", "0GB", "8", "8 XB", "-5GB", "+8GB", "80%", "1,5GB", "1MB", "8KB", "nan", "8GB x", "1PB"],
)
def test_a_memory_limit_that_is_none_is_refused(limit: str) -> None:
    assert "memory_limit" in why_not(memory_limit=limit)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", "0"), ("threads", "many"), ("threads", ""), ("threads", "100000"),
        ("keep_hours", "nan"), ("keep_hours", "inf"), ("keep_hours", "-1"), ("keep_hours", "1e300"),
        ("settle_seconds", "nan"), ("settle_seconds", "inf"), ("settle_seconds", "-1"), ("settle_seconds", ""),
        ("keep_versions", "1"), ("keep_versions", "2.5"),
        ("server_port", "0"), ("server_port", "65536"), ("server_port", "http"),
        ("server_host", ""), ("server_host", "a b"), ("server_host", "127.0.0.1:4200"), ("server_host", "http://x"),
        ("server_host", "999.1.1.1"), ("server_host", "-x"),
        ("watch_seconds", "0"), ("tidy_seconds", "nan"), ("begin_seconds", "-1"),
        ("channels", ""), ("channels", "~/channels.yml"),
        ("home", "~"), ("home", "~/lake"), ("home", ""), ("home", " "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named_with_its_variable(name: str, value: str) -> None:
    done = CliRunner().invoke(main, ["status"], env={f"TIDEMARK_{name.upper()}": value})
    assert done.exit_code == 1
    assert done.output.startswith(f"error: TIDEMARK_{name.upper()} is {value!r}: ")
    assert done.output.count("error:") == 1 and "Traceback" not in done.output


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1", "localhost", "tidemark.example.org", "my-host"])
def test_addresses_and_names_are_hosts(host: str) -> None:
    assert Settings(server_host=host).server_host == host


@pytest.mark.parametrize(
    ("sign", "command"),
    [
        *((sign, "status") for sign in ("*", "?", "[", "\\", "=", "#", "\n", "\t", "\x1b")),
        *(("*", command) for command in ("land", "run", "publish", "rollback", "sample", "serve", "audit")),
    ],
)
def test_a_home_that_the_engine_cannot_name_is_refused_before_anything_is_made(
    tmp_path: Path, sign: str, command: str
) -> None:
    home = tmp_path / f"a{sign}b"
    done = CliRunner().invoke(main, [command], env={"TIDEMARK_HOME": str(home)})
    assert done.exit_code == 1 and done.output.startswith("error: TIDEMARK_HOME is ")
    assert not home.exists() and [*tmp_path.iterdir()] == []


def test_a_home_is_also_refused_for_the_folder_it_is_in_or_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a=b").mkdir()
    (tmp_path / "link").symlink_to("a=b")
    assert "= in it" in why_not(home=tmp_path / "link")
    assert "= in it" in why_not(home=tmp_path / "a=b" / "home")
    monkeypatch.chdir(tmp_path / "a=b")
    monkeypatch.delenv("TIDEMARK_HOME", raising=False)
    assert "= in it" in why_not()
    (tmp_path / "round").symlink_to("round")
    assert "cannot be followed" in why_not(home=tmp_path / "round")


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a%20b", "a$b", "a]b", "a{{b}}", "a;b", "a&b", "a:b", "å"])
def test_a_home_that_works_is_taken(tmp_path: Path, name: str) -> None:
    assert Settings(home=tmp_path / name).home == tmp_path / name


def test_a_limit_that_is_none_is_reported_by_the_command_in_one_line(tmp_path: Path) -> None:
    environment = os.environ | {"TIDEMARK_HOME": str(tmp_path / "home"), "TIDEMARK_MEMORY_LIMIT": "lots"}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "delete" not in done.stdout
    assert done.stdout == (
        "error: TIDEMARK_MEMORY_LIMIT is 'lots': it must be a number and a unit, as in 8GB, 512MB or 1.5GiB\n"
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("url", ["s3://bucket", "s3://my.bucket-1/a/b_c/2026-01", "s3://bucket/prefix/"])
def test_addresses_of_buckets_are_taken(url: str) -> None:
    assert Settings(published_url=url).published_url == url.rstrip("/")
    assert Settings(landed_url=url).landed_url == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["", "bucket", "https://bucket", "s3://", "s3://b/a*", "s3://bucket/a b", "s3://bucket/../x", "s3://b?x=1"]
)
def test_addresses_that_views_cannot_name_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="s3://BUCKET/PREFIX"):
        Settings(published_url=url)
    with pytest.raises(ValidationError, match="s3://BUCKET/PREFIX"):
        Settings(landed_url=url)


def test_what_stands_before_a_host_is_in_no_message() -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(published_url="s3://KEY:se/cret@bucket/x")
    (line,) = explain(raised.value)
    assert "cret" not in line and "***@bucket/x" in line
