"""What the sample's truth file says of adverts is found by their scores, which never see it.

In the sample adverts stand anywhere by chance. Worlds in which what stands first is better: test_scores.py.
"""

import json
from pathlib import Path

from scipy.stats import spearmanr

from flows import sample
from flows.build.build import build
from flows.build.warehouse import open_warehouse
from tests.support.lake import Lake

EVENTS, DAYS, SEED = 300_000, 18, 1
SCORES = "fct_advert_attractiveness"
# Scores of the newest day, and what was listed in the ten days before.
FOUND = """
    with newest as (select max(event_date) as event_date from marts.fct_advert_attractiveness where is_scored)
    select scores.advert_id, scores.score, adverts.listed_at >= newest.event_date - 10 as is_new
    from newest
    inner join marts.fct_advert_attractiveness as scores on newest.event_date = scores.event_date and scores.is_scored
    inner join intermediate.int_adverts__adverts_versioned as adverts
        on scores.advert_id = adverts.advert_id and adverts.is_current
"""


def test_scores_order_adverts_as_the_truth_does(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    sample.generate(tmp_path, EVENTS, DAYS, SEED)
    truth = json.loads((tmp_path / "sample/truth.json").read_text())["advert_quality"]
    lake.land()
    done = build(lake.settings, ("--select", f"+{SCORES}", "--exclude-resource-type", "unit_test"))
    assert not done.failed, [(node.name, node.message) for node in done.failed]
    with open_warehouse(lake.settings, read_only=True) as db:
        rows = db.execute(FOUND).fetchall()

    def agreement(of: list[tuple[str, float, bool]]) -> float:
        return float(spearmanr([score for _, score, _ in of], [truth[advert] for advert, _, _ in of]).statistic)

    new = [row for row in rows if row[2]]
    assert len(rows) > 300 and len(new) > 30
    assert agreement(rows) >= 0.75 and agreement(new) >= 0.60
