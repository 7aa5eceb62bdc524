"""A project that does not say who may see what it publishes, or says too much, is not built."""

from pathlib import Path

import pytest

from flows.build import dbt as dbt_module
from flows.build.dbt import read_project
from flows.errors import TidemarkError
from flows.settings import Settings
from tests.support.workshop import Workshop

DATES, ACCOUNTS = "models/marts/core/dim_dates.yml", "models/marts/audience/dim_accounts.yml"


def test_the_error_names_the_file_and_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop, settings = Workshop(tmp_path / "project"), Settings(home=tmp_path / "home")
    monkeypatch.setattr(dbt_module, "PROJECT", workshop.folder)
    for name, said, instead in ((DATES, "visibility: public", ""), (ACCOUNTS, ": restricted", ": internal")):
        text = (workshop.folder / name).read_text()
        assert said in text
        workshop.write(name, text.replace(said, instead))
    with pytest.raises(TidemarkError) as raised:
        read_project(settings)
    accounts, dates = str(raised.value).splitlines()
    assert dates.startswith(f"{DATES}: dim_dates does not say who may see it; say one of public, internal, restricted")
    assert accounts.startswith(
        f"{ACCOUNTS}: dim_accounts says `visibility: internal`, and its columns allow no more than "
    )
    assert "account_key (pseudonym)" in accounts and "say `visibility: restricted`, or leave" in accounts
    # It is not taken for read: the next command says the same.
    with pytest.raises(TidemarkError, match="dim_dates does not say"):
        read_project(settings)
    workshop.fix()
    assert read_project(settings).models["dim_dates"].visibility == "public"
