"""Which example queries stand on the page of which table."""

from pathlib import Path

from flows.site.questions import MOST, questions_by_table


def test_questions_stand_with_the_tables_they_read(tmp_path: Path) -> None:
    path = tmp_path / "questions.yml"
    path.write_text(
        "- {question: both, sql: select 1 from agg_a join dim_b using (id)}\n"
        "- {question: one, sql: select agg_annual from agg_a}\n"
        + "".join(f"- {{question: more {n}, sql: select {n} from agg_a}}\n" for n in range(9)),
        encoding="utf-8",
    )
    found = questions_by_table(["agg_a", "dim_b", "agg_annual_other"], path)
    assert set(found) == {"agg_a", "dim_b"}
    assert [question.text for question in found["dim_b"]] == ["both"]
    assert [question.text for question in found["agg_a"]][:1] == ["one"], "those of one table come first"
    assert len(found["agg_a"]) == MOST
