"""However events are split into files, batches and builds, in whatever order, some twice, with processes killed on the
way: every mart is that of one full build, and what an oracle written plainly makes of the same events."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.properties.cases import CASE, CASES, STEPS, Case
from tests.properties.delivered import Delivered, Landed, changes, files_of
from tests.properties.kills import MOMENTS
from tests.properties.known import KNOWN, REOPENED, STITCHED, WITHDRAWN
from tests.properties.lives import PLAN, RULES, Home, Plan, Step
from tests.properties.oracle import Session, fct_sessions
from tests.properties.oracle_consent import in_use
from tests.properties.oracle_people import Rules
from tests.properties.unfolded import copies_of, statements_of

T = TypeVar("T")
# A life takes a good twenty seconds and would shrink slowly; the cases in it are small, and what fails is reported.
LIVES = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
SEEDS = st.integers(0, 2**32 - 1)


Homes = dict[Rules, Home]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    return {rules: Home(tmp_path_factory.mktemp("home"), rules) for rules in RULES}


def assert_lived_well(homes: Homes, cases: Sequence[Case], plan: Plan) -> None:
    """No case went wrong; those that did are reported with what is wrong about them."""
    wrong = homes[plan.rules].live(cases, plan)
    reported = "\n\n".join(f"case {number}: {what}" for number, what in wrong.items())
    assert not wrong, f"{len(wrong)} of {len(cases)} cases went wrong by {plan}\n\n{reported}"


# A life of the known cases for each of the rules would cost a minute more: one has the first, one the second.
SHOWN, WITHHELD = RULES


@pytest.mark.parametrize("rules", [SHOWN, pytest.param(WITHHELD, marks=pytest.mark.long)])
def test_known_cases_go_well(homes: Homes, rules: Rules) -> None:
    before = homes[rules].met.copy()
    steps = tuple(Step(("ndjson",), "nothing", what == "all", what, None, 0) for what in ("run", "all", "run", "all"))
    assert_lived_well(homes, list(KNOWN.values()), Plan(steps, order=1, rules=rules))
    met = homes[rules].met - before
    assert min(met["withdrawn"], met["in use again"]) > 0, f"the life did not change what was built: {met}"


@pytest.mark.parametrize("name", [*WITHDRAWN, *REOPENED])
def test_known_cases_change_what_was_built(name: str) -> None:
    """By the oracle: with what becomes known of consent at the third step, what was built after the second is used
    otherwise, in the way that the case is for."""
    built, now = (landed_until(KNOWN[name], step) for step in (1, 2))
    wanted, other = ("withdrawn", "in use again") if name in WITHDRAWN else ("in use again", "withdrawn")
    assert changes(built, now)[wanted] > 0
    assert changes(built, now)[other] == 0


@pytest.mark.parametrize("name", STITCHED)
def test_known_cases_change_whom_sessions_are_stitched_to(name: str) -> None:
    """By the oracle: at some step sessions that were built before, and have nothing new, get another user or none."""
    steps = [sessions_until(STITCHED[name], step) for step in range(STEPS)]
    assert any(
        before[same].stitched_user_key != now[same].stitched_user_key
        for before, now in pairwise(steps)
        for same in before.keys() & now.keys()
    )


def sessions_until(case: Case, last_step: int) -> dict[Session, Session]:
    """The sessions of what was delivered until this step, by all that does not follow from consent or others."""
    sessions = fct_sessions(in_use(*landed_until(case, last_step)))
    return {session._replace(stitched_user_key=None, has_stitching_consent=False): session for session in sessions}


def landed_until(case: Case, last_step: int) -> Landed:
    """What must have landed of a case once this step is delivered."""
    delivered = Delivered()
    for step in range(last_step + 1):
        delivered.events[bytes([step])] = "ndjson", [copy for at, copy in copies_of(case, 0) if at == step]
        for name, said in files_of(one for one in statements_of(case, 0) if one.step == step).items():
            delivered.take(name, said)
    return delivered.landed()


@pytest.mark.parametrize("rules", [pytest.param(SHOWN, marks=pytest.mark.long), WITHHELD])
def test_killed_between_commits_comes_to_the_same(homes: Homes, rules: Rules) -> None:
    home = homes[rules]
    before = home.met.copy()
    # The first delivery is built: what is known of consent later changes that.
    steps = tuple(Step(("ndjson",), "nothing", False, "run", moment, 0) for moment in (None, *MOMENTS))
    assert_lived_well(homes, list(KNOWN.values()), Plan(steps, order=2, rules=home.rules))
    assert all((home.met - before)[f"killed {moment}"] == 1 for moment in MOMENTS)


def drawn(strategy: SearchStrategy[T], seed: str) -> T:
    """A value of a strategy, always the same for a seed. The first that Hypothesis draws is the simplest and the later
    ones resemble those before: the second is as free as can be."""
    found: list[T] = []

    @seeded(seed)
    @settings(LIVES, phases=[Phase.generate], database=None, max_examples=2)
    @given(strategy)
    def collect(value: T) -> None:
        found.append(value)

    collect()
    return found[-1]


def live_often(homes: Homes, lives: int) -> None:
    """So many lives, each of cases that Hypothesis draws from the life's seed."""
    tried: set[Case] = set()

    @settings(LIVES, max_examples=lives)
    @given(SEEDS)
    def live(seed: int) -> None:
        cases = [drawn(CASE, f"{seed}, case {number}") for number in range(CASES)]
        assert_lived_well(homes, cases, drawn(PLAN, f"{seed}, plan"))
        tried.update(cases)

    live()
    assert len(tried) >= lives * CASES * 0.95


def test_order_never_matters(homes: Homes) -> None:
    live_often(homes, 2)


@pytest.mark.long
def test_order_never_matters_in_thousands_of_cases(homes: Homes) -> None:
    before = sum((home.met for home in homes.values()), Counter[str]())
    live_often(homes, 60)
    met = sum((home.met for home in homes.values()), Counter[str]()) - before
    assert min(met["withdrawn"], met["in use again"]) > 0, f"no life changed what was built: {met}"
