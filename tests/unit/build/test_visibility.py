"""Nobody sees more of a table than what its columns hold allows."""

from collections.abc import Iterable

import pytest

from flows.build.project import Model
from flows.build.visibility import refuse_wrong_visibility, widest
from flows.errors import TidemarkError


def model(visibility: str, **privacy: str) -> Model:
    path = "models/marts/x/dim_a.yml"
    columns = dict.fromkeys(privacy, "")
    return Model("dim_a", "marts", "table", None, "", columns, frozenset(), visibility, privacy, path)


def refused(*models: Model, columns: Iterable[str] | None = None) -> str:
    """What is said; '' where nothing is."""
    try:
        refuse_wrong_visibility(models, lambda model: columns or model.columns)
    except TidemarkError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("classes", "level"),
    [
        ("", "public"),
        ("none", "public"),
        ("none behaviour", "internal"),
        ("quasi_identifier none", "internal"),
        ("quasi_identifier none behaviour", "restricted"),
        ("none pseudonym", "restricted"),
        ("free_text", "restricted"),
        ("none direct_identifier", "restricted"),
        ("none of_no_class_that_is_known", "restricted"),
    ],
)
def test_the_widest_level_is_that_of_the_most_sensitive_column(classes: str, level: str) -> None:
    assert widest(classes.split()) == level


def test_a_column_without_a_class_may_hold_anything() -> None:
    assert widest(["none", ""]) == "restricted"


@pytest.mark.parametrize(
    ("said", "privacy", "is_right"),
    [
        ("public", "none", True),
        ("internal", "none", True),
        ("restricted", "none", True),
        ("public", "behaviour", False),
        ("internal", "behaviour", True),
        ("public", "quasi_identifier", False),
        ("internal", "quasi_identifier", True),
        ("internal", "pseudonym", False),
        ("restricted", "pseudonym", True),
    ],
)
def test_a_model_is_seen_by_no_more_than_its_columns_allow(said: str, privacy: str, is_right: bool) -> None:
    found = refused(model(said, a_id="none", b=privacy))
    assert (not found) == is_right
    if not is_right:
        assert found.startswith(f"models/marts/x/dim_a.yml: dim_a says `visibility: {said}`, and its columns allow no ")
        assert f"b ({privacy})" in found and "a_id" not in found


def test_what_is_wrong_is_said_of_all_models_with_the_file_and_the_remedy() -> None:
    silent, misspelt = model("", a_key="pseudonym"), model("intern", a_id="none")
    assert refused(silent, model("public", a_id="none"), misspelt).splitlines() == [
        "models/marts/x/dim_a.yml: dim_a does not say who may see it; say one of public, internal, restricted below "
        "`config: meta:`, for example `visibility: restricted`",
        "models/marts/x/dim_a.yml: dim_a says `visibility: intern`; say one of public, internal, restricted below "
        "`config: meta:`, for example `visibility: internal`",
    ]


def test_a_column_that_is_there_and_not_described_counts() -> None:
    said = model("internal", a_id="none")
    assert refused(said) == refused(said, columns=["a_id"]) == ""
    assert "b (no privacy class)" in refused(said, columns=["a_id", "b"])
