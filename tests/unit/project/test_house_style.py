"""Models say what a row is, give each column a type and privacy, and have a tested key: by the manifest."""

import re
from typing import Any

import pytest

from tests.support.manifest import Manifest, Node, layer_of, models, without_comments

PRIVACY = {"none", "behaviour", "pseudonym", "quasi_identifier", "free_text"}
KEY_TESTS = {"unique", "valid_rows"}


def grain_violations(manifest: Manifest) -> list[str]:
    """Models whose description does not begin with their grain."""
    return [
        f"{node['name']}: the description begins 'One row per ...'"
        for node in models(manifest)
        if not node["description"].startswith("One row per ")
    ]


def column_violations(manifest: Manifest) -> list[str]:
    """Columns a model selects and does not describe, describes in part, or describes and does not select."""
    found = []
    for node in models(manifest):
        described: dict[str, Node] = node["columns"]
        selected = selected_columns(node["raw_code"])
        if selected is None:
            found.append(f"{node['name']}: the last select lists its columns, one by one")
            continue
        for name in sorted(set(selected) ^ set(described)):
            found.append(f"{node['name']}.{name}: {'described' if name in described else 'selected'} only")
        for name, column in described.items():
            privacy = {**column.get("meta", {}), **column.get("config", {}).get("meta", {})}.get("privacy")
            if not column.get("description"):
                found.append(f"{node['name']}.{name}: has no description")
            if not column.get("data_type"):
                found.append(f"{node['name']}.{name}: has no data_type")
            if privacy not in PRIVACY:
                found.append(f"{node['name']}.{name}: privacy is {privacy}, not one of {sorted(PRIVACY)}")
    return found


def selected_columns(sql: str) -> list[str] | None:
    """The names that a model's last select gives; None where it does not list them."""
    parts = re.split(r"^select(?: distinct)?(?:$| (?=\w+$))", without_comments(sql), flags=re.MULTILINE)
    listed = re.split(r"^from\b", parts[-1], maxsplit=1, flags=re.MULTILINE)
    if len(parts) < 2 or len(listed) < 2 or "{%" in listed[0]:
        return None
    names, depth, item = [], 0, ""
    for character in listed[0] + ",":
        depth += (character in "({[") - (character in ")}]")
        if character == "," and depth == 0:
            name = re.search(r"(\w+)\s*$", item)
            if name is None:
                return None
            names.append(name.group(1))
            item = ""
        else:
            item += character
    return names


def mart_violations(manifest: Manifest) -> list[str]:
    """Marts without an owner, a group, an access level, a version policy or an enforced contract."""
    found = []
    for node in models(manifest):
        if layer_of(node["unique_id"], manifest) != "marts":
            continue
        config = node["config"]
        group = manifest["groups"].get(f"group.tidemark.{config.get('group')}")
        meta = config.get("meta") or {}
        missing = {
            "a group with an owner": group and group["owner"].get("name"),
            "an access level of its layer (public)": config.get("access") == "public",
            "an enforced contract": (config.get("contract") or {}).get("enforced"),
            "meta.owner": meta.get("owner"),
            "meta.version_policy": meta.get("version_policy"),
        }
        found += [f"{node['name']}: a mart has {what}" for what, there in missing.items() if not there]
    return found


# Who may see a table, from many to few, and which classes of columns only the fewest may.
VISIBILITY = ("public", "internal", "restricted")
FOR_THE_FEWEST = {"pseudonym", "free_text"}


def visibility_violations(manifest: Manifest) -> list[str]:
    """Published models that do not say who may see them, or that more may see than should; and others that say it."""
    found = []
    for node in models(manifest):
        visibility = (node["config"].get("meta") or {}).get("visibility")
        if layer_of(node["unique_id"], manifest) not in ("marts", "ops"):
            found += [f"{node['name']}: is not published, and has no meta.visibility"] if visibility else []
            continue
        classes = {column.get("config", {}).get("meta", {}).get("privacy") for column in node["columns"].values()}
        if visibility not in VISIBILITY:
            found.append(f"{node['name']}: meta.visibility is {visibility}, not one of {', '.join(VISIBILITY)}")
        elif visibility == "public" and classes != {"none"}:
            found.append(f"{node['name']}: is public and has columns of {', '.join(sorted(classes - {'none'}))}")
        elif visibility == "internal" and classes & FOR_THE_FEWEST:
            found.append(f"{node['name']}: is internal and has {', '.join(sorted(classes & FOR_THE_FEWEST))}")
    return found


# What a figure's name or type looks like.
FIGURE = re.compile(r"_(count|rate|seconds)$")
FIGURE_TYPES = {"bigint", "double"}


def figure_violations(manifest: Manifest) -> list[str]:
    """Figures of aggregates that do not say whether they may be summed over rows, or say it to machines alone."""
    found = []
    for node in models(manifest):
        if not node["name"].startswith("agg_"):
            continue
        for name, column in node["columns"].items():
            if not FIGURE.search(name) and column.get("data_type") not in FIGURE_TYPES:
                continue
            additive = column.get("config", {}).get("meta", {}).get("additive")
            if additive not in (True, False):
                found.append(f"{node['name']}.{name}: meta.additive is true where rows may be summed, else false")
            elif additive and name.endswith("_rate"):
                found.append(f"{node['name']}.{name}: a rate is never additive")
            elif not additive and "not to be summed" not in column.get("description", "").lower():
                found.append(f"{node['name']}.{name}: the description of what is not additive says 'Not to be summed'")
    return found


def key_violations(manifest: Manifest) -> list[str]:
    """Models without a test of their key.

    A staging view has its rows from the raw model, whose key is tested. A view between staging and marts is a step
    of the model that reads it, and its key is tested there: a test of its own would compute all of it once more.
    """
    tested = {
        node["attached_node"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and (node.get("test_metadata") or {}).get("name") in KEY_TESTS
    }
    tested |= {
        node["unique_id"]
        for node in models(manifest)
        if layer_of(node["unique_id"], manifest) == "staging"
        and any(parent in tested for parent in node["depends_on"]["nodes"])
    }
    return [
        f"{node['name']}: no test of its key ({' or '.join(sorted(KEY_TESTS))})"
        for node in models(manifest)
        if node["unique_id"] not in tested and not _is_step(node, manifest)
    ]


def _is_step(node: dict[str, Any], manifest: Manifest) -> bool:
    return (
        layer_of(node["unique_id"], manifest) == "intermediate"
        and (node.get("config") or {}).get("materialized") == "view"
    )


def singular_test_violations(manifest: Manifest) -> list[str]:
    """Singular tests that do not open with what a failure means, or are not named for what they assert."""
    found = []
    for node in manifest["nodes"].values():
        if node["resource_type"] != "test" or node.get("test_metadata"):
            continue
        if not re.match(r"-- \w", node["raw_code"]):
            found.append(f"{node['original_file_path']}: opens with a comment: what it means and who acts")
        if not re.fullmatch(r"tests/singular/\w+/assert_\w+\.sql", node["original_file_path"]):
            found.append(f"{node['original_file_path']}: is named tests/singular/<layer>/assert_<invariant>.sql")
    return found


def warning_violations(manifest: Manifest) -> list[str]:
    """Tests that only warn and do not say who reads the warning or until when it may stay one."""
    return [
        f"{node['name']}: a warning has meta.owner and meta.expires"
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test"
        and node["config"]["severity"].lower() == "warn"
        and not {"owner", "expires"} <= set(node["config"].get("meta") or {})
    ]


# What may stand in `meta`, by what it is of: docs/guides/models.md says what each means.
META = {
    "model": {
        "contract": str, "datasets": list, "day": str, "days_to_replace": str, "fresh_within_hours": int,
        "lookback_days": int, "owner": str, "touched_keys": str, "version_policy": str, "visibility": str,
    },
    "seed": {"owner": str},
    "source": {"contract": str, "no_freshness": str, "owner": str},
    "test": {"expires": str, "owner": str, "reason": str},
    "column": {"additive": bool, "privacy": str},
}  # fmt: skip


def meta_violations(manifest: Manifest) -> list[str]:
    """Keys of ``meta`` that nothing reads, of another type, or that name what is not there."""
    macros = {macro["name"] for macro in manifest["macros"].values()}
    names = {node["name"] for node in models(manifest)}
    found = []
    for node in [*manifest["nodes"].values(), *manifest["sources"].values()]:
        kind = node["resource_type"]
        metas = [(node["name"], kind, node["config"].get("meta") or {})]
        metas += [
            (f"{node['name']}.{name}", "column", column.get("config", {}).get("meta") or {})
            for name, column in node.get("columns", {}).items()
        ]
        for where, what, meta in metas:
            known = META.get(what, {})
            found += [f"{where}: meta.{key} is not one of {sorted(known)}" for key in meta if key not in known]
            found += [
                f"{where}: meta.{key} is a {known[key].__name__}, not {value!r}"
                for key, value in meta.items()
                if key in known and not isinstance(value, known[key])
            ]
            if meta.get("days_to_replace", "affected_days") not in macros:
                found.append(f"{where}: meta.days_to_replace names a macro, not {meta['days_to_replace']!r}")
            if meta.get("touched_keys", next(iter(names))) not in names:
                found.append(f"{where}: meta.touched_keys names a model, not {meta['touched_keys']!r}")
    return found


def macro_violations(manifest: Manifest) -> list[str]:
    """Macros and arguments that ``macros/_macros.yml`` does not describe. Variants for an engine need none."""
    found = []
    for macro in manifest["macros"].values():
        if macro["package_name"] != "tidemark" or re.match("duckdb__|spark__", macro["name"]):
            continue
        if not macro["description"]:
            found.append(f"{macro['name']}: is not in macros/_macros.yml")
        found += [
            f"{macro['name']}: its argument {a['name']} is not" for a in macro["arguments"] if not a["description"]
        ]
    return found


@pytest.mark.parametrize(
    "violations",
    [
        grain_violations,
        column_violations,
        mart_violations,
        visibility_violations,
        figure_violations,
        key_violations,
        macro_violations,
        meta_violations,
        singular_test_violations,
        warning_violations,
    ],
)
def test_the_project_keeps_the_house_style(manifest: Manifest, violations: Any) -> None:
    assert violations(manifest) == []


def a_column(**changes: Any) -> Node:
    column = {"description": "A.", "data_type": "bigint", "config": {"meta": {"privacy": "none"}}}
    return {**column, **changes}


def a_mart(**changes: Any) -> Node:
    node = {
        "unique_id": "model.tidemark.dim_a",
        "resource_type": "model",
        "name": "dim_a",
        "original_file_path": "models/marts/x/dim_a.sql",
        "description": "One row per a.",
        "columns": {"a_id": a_column(), "b_rate": a_column()},
        "raw_code": "-- A.\nselect\n    a_id, -- from\n    cast(b as decimal(9, 2)) b_rate\nfrom a",
        "depends_on": {"nodes": []},
        "config": {
            "group": "x",
            "access": "public",
            "contract": {"enforced": True},
            "meta": {"owner": "x", "version_policy": "Add only.", "visibility": "internal"},
        },
    }
    return {**node, **changes}


def a_test(**changes: Any) -> Node:
    node = {
        "unique_id": "test.tidemark.unique_dim_a",
        "resource_type": "test",
        "name": "unique_dim_a",
        "attached_node": "model.tidemark.dim_a",
        "test_metadata": {"name": "unique"},
        "original_file_path": "models/marts/x/dim_a.yml",
        "raw_code": "{{ test_unique(**_dbt_generic_test_kwargs) }}",
        "config": {"severity": "ERROR", "meta": {}},
    }
    return {**node, **changes}


def a_singular_test(**changes: Any) -> Node:
    path = "tests/singular/marts/assert_a.sql"
    code = "-- A holds. Who acts: x.\nselect 1"
    return a_test(test_metadata=None, attached_node=None, original_file_path=path, raw_code=code, **changes)


def a_manifest(*nodes: Node) -> Manifest:
    return {
        "nodes": {node["unique_id"]: node for node in nodes},
        "groups": {"group.tidemark.x": {"owner": {"name": "x"}}},
        "sources": {},
        "macros": {"affected_days": {"name": "affected_days", "package_name": "dbt"}},
    }


def test_a_model_in_the_house_style_is_right() -> None:
    manifest = a_manifest(a_mart(), a_test(), a_singular_test(unique_id="test.tidemark.assert_a"))
    for violations in (
        grain_violations,
        column_violations,
        mart_violations,
        visibility_violations,
        figure_violations,
        key_violations,
        macro_violations,
        meta_violations,
        singular_test_violations,
        warning_violations,
    ):
        assert violations(manifest) == []


@pytest.mark.parametrize("description", ["", "All a.", "one row per a", "A dimension. One row per a."])
def test_a_description_without_the_grain_is_found(description: str) -> None:
    assert len(grain_violations(a_manifest(a_mart(description=description)))) == 1


@pytest.mark.parametrize(
    "columns",
    [
        {"a_id": a_column()},
        {"a_id": a_column(), "b_rate": a_column(), "c": a_column()},
        {"a_id": a_column(), "b_rate": a_column(description="")},
        {"a_id": a_column(), "b_rate": a_column(data_type=None)},
        {"a_id": a_column(), "b_rate": a_column(config={"meta": {}})},
        {"a_id": a_column(), "b_rate": a_column(config={"meta": {"privacy": "secret"}})},
    ],
)
def test_a_column_described_badly_is_found(columns: dict[str, Node]) -> None:
    assert len(column_violations(a_manifest(a_mart(columns=columns)))) == 1


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("select\n    a,\n    t.b,\n    {{ f('x', y) }} as c\nfrom t", ["a", "b", "c"]),
        ("with t as (\n    select\n        z\n    from u\n)\n\nselect distinct\n    a\nfrom t", ["a"]),
        ("select\n    case when a then b end as c -- of a, b\nfrom t", ["c"]),
        ("select\n    *\nfrom t", None),
        ("select\n    {% for a in b %}{{ a }},{% endfor %}\n    c\nfrom t", None),
        ("select * from t", None),
    ],
)
def test_the_last_select_is_read(sql: str, names: list[str] | None) -> None:
    assert selected_columns(sql) == names


def test_a_select_without_listed_columns_is_found() -> None:
    assert len(column_violations(a_manifest(a_mart(raw_code="select * from a")))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"group": None},
        {"group": "unknown"},
        {"access": "protected"},
        {"contract": {"enforced": False}},
        {"meta": {"owner": "x"}},
        {"meta": {"version_policy": "Add only."}},
    ],
)
def test_a_mart_that_lacks_a_promise_is_found(change: dict[str, Any]) -> None:
    config = {**a_mart()["config"], **change}
    assert len(mart_violations(a_manifest(a_mart(config=config)))) == 1


@pytest.mark.parametrize(
    ("visibility", "privacy"),
    [
        (None, "none"),
        ("everybody", "none"),
        ("public", "behaviour"),
        ("public", "quasi_identifier"),
        ("public", "pseudonym"),
        ("internal", "pseudonym"),
        ("internal", "free_text"),
    ],
)
def test_a_table_that_more_may_see_than_should_is_found(visibility: str | None, privacy: str) -> None:
    columns = {"a_id": a_column(), "b_rate": a_column(config={"meta": {"privacy": privacy}})}
    config = {**a_mart()["config"], "meta": {"visibility": visibility} if visibility else {}}
    assert len(visibility_violations(a_manifest(a_mart(columns=columns, config=config)))) == 1
    step = a_mart(original_file_path="models/intermediate/x/int_x__a.sql")
    assert len(visibility_violations(a_manifest(step))) == 1


def test_a_figure_that_does_not_say_whether_it_may_be_summed_is_found() -> None:
    def found(name: str, description: str, **meta: Any) -> list[str]:
        column = a_column(description=description, config={"meta": {"privacy": "none", **meta}})
        return figure_violations(a_manifest(a_mart(name="agg_a", columns={"a_date": a_date, name: column})))

    a_date = a_column(data_type="date")
    assert found("a_count", "A.", additive=True) == []
    assert found("a_count", "A. Not to be summed over days.", additive=False) == []
    assert len(found("a_count", "A.")) == len(found("a", "A.")) == len(found("a_count", "A.", additive="no")) == 1
    assert len(found("a_count", "A.", additive=False)) == 1
    assert len(found("a_rate", "A.", additive=True)) == 1
    assert figure_violations(a_manifest(a_mart())) == []


def test_a_model_without_a_key_test_is_found() -> None:
    assert len(key_violations(a_manifest(a_mart()))) == 1
    assert len(key_violations(a_manifest(a_mart(), a_test(test_metadata={"name": "not_null"})))) == 1
    assert len(key_violations(a_manifest(a_mart(), a_test(attached_node="model.tidemark.other")))) == 1


def test_a_staging_view_has_its_key_tested_in_the_raw_model_it_reads() -> None:
    raw = a_mart(unique_id="model.tidemark.raw_a", name="raw_a", original_file_path="models/raw/raw_a.sql")
    tested = a_test(attached_node="model.tidemark.raw_a")
    reader = a_mart(depends_on={"nodes": ["model.tidemark.raw_a"]})
    staged = {**reader, "original_file_path": "models/staging/x/stg_x__a.sql"}
    assert key_violations(a_manifest(raw, staged, tested)) == []
    assert len(key_violations(a_manifest(raw, reader, tested))) == 1
    assert len(key_violations(a_manifest(raw, staged))) == 2


def test_only_a_view_of_the_intermediate_layer_goes_without_a_key_test() -> None:
    view = {**a_mart()["config"], "materialized": "view"}
    step = a_mart(config=view, original_file_path="models/intermediate/a/int_a__b.sql")
    table = a_mart(original_file_path="models/intermediate/a/int_a__b.sql")
    assert key_violations(a_manifest(step)) == []
    assert len(key_violations(a_manifest(table))) == len(key_violations(a_manifest(a_mart(config=view)))) == 1


def test_a_singular_test_without_its_meaning_is_found() -> None:
    for code in ("select 1", "{{ config(severity='warn') }}\n-- A holds.\nselect 1", "--\nselect 1"):
        assert len(singular_test_violations(a_manifest({**a_singular_test(), "raw_code": code}))) == 1
    misnamed = {**a_singular_test(), "original_file_path": "tests/singular/marts/a.sql"}
    assert len(singular_test_violations(a_manifest(misnamed))) == 1


def test_a_warning_without_an_owner_is_found() -> None:
    for meta in ({}, {"owner": "x"}, {"expires": "2027-01-01"}):
        assert len(warning_violations(a_manifest(a_test(config={"severity": "WARN", "meta": meta})))) == 1
    kept = {"owner": "x", "expires": "2027-01-01"}
    assert warning_violations(a_manifest(a_test(config={"severity": "warn", "meta": kept}))) == []


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"touched_key": "dim_a"}, "dim_a: meta.touched_key is not one of"),
        ({"touched_keys": "dim_b"}, "dim_a: meta.touched_keys names a model, not 'dim_b'"),
        ({"lookback_days": "1"}, "dim_a: meta.lookback_days is a int, not '1'"),
        ({"days_to_replace": "some_days"}, "dim_a: meta.days_to_replace names a macro, not 'some_days'"),
    ],
)
def test_a_key_of_meta_that_nothing_reads_is_found(meta: dict[str, Any], words: str) -> None:
    (found,) = meta_violations(a_manifest(a_mart(config={"meta": meta})))
    assert found.startswith(words)


def test_a_misspelt_privacy_is_found_in_meta() -> None:
    columns = {"a_id": a_column(config={"meta": {"privcy": "none"}})}
    assert meta_violations(a_manifest(a_mart(columns=columns))) == [
        "dim_a.a_id: meta.privcy is not one of ['additive', 'privacy']"
    ]


def test_a_macro_and_an_argument_without_words_are_found() -> None:
    said = {"name": "a", "package_name": "tidemark", "description": "A.", "arguments": []}
    manifest = a_manifest()
    manifest["macros"] = {
        "said": said,
        "of_an_engine": {**said, "name": "spark__a", "description": ""},
        "of_dbt": {**said, "package_name": "dbt", "description": ""},
        "silent": {**said, "name": "b", "description": ""},
        "silent_of_one": {**said, "name": "c", "arguments": [{"name": "day", "description": ""}]},
    }
    assert macro_violations(manifest) == ["b: is not in macros/_macros.yml", "c: its argument day is not"]
