"""How many examples Hypothesis draws for a property: a few in `make test`, all of them in `make test-long`.

A property whose examples each land files or live through days would cost minutes at every change. A few of its examples
find what is plainly broken; the rare case is looked for by the longer run. Of a property that is derandomized the few
are the first of the many.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

Test = Callable[..., None]


@dataclass(frozen=True)
class Examples:
    """So many examples of a property, and how these are drawn. Tests of it are written below ``@EXAMPLES.of(...)``, as
    they would be below Hypothesis's ``@given(...)``."""

    few: int
    many: int
    is_derandomized: bool = True

    def of(self, *strategies: Any, **named: Any) -> Callable[[Test], Test]:
        """Try what the decorated test says with values of these strategies: two tests, of which one is long."""

        def decorate(test: Test) -> Test:
            by_number = {number: self._drawn(number, given(*strategies, **named)(test)) for number in self._numbers}

            def try_often(examples: int, **fixtures: Any) -> None:
                by_number[examples](**fixtures)

            # What Hypothesis leaves are fixtures: pytest finds them by the signature.
            fixtures = inspect.signature(by_number[self.few]).parameters.values()
            asked = inspect.Parameter("examples", inspect.Parameter.KEYWORD_ONLY)
            try_often.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in fixtures), asked]
            )
            for name in ("__name__", "__qualname__", "__module__", "__doc__"):
                setattr(try_often, name, getattr(test, name))
            long = pytest.param(self.many, marks=pytest.mark.long)
            return pytest.mark.parametrize("examples", [self.few, long])(try_often)

        return decorate

    @property
    def _numbers(self) -> tuple[int, int]:
        return self.few, self.many

    def _drawn(self, number: int, test: Test) -> Test:
        how = settings(
            max_examples=number,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=self.is_derandomized,
        )
        return how(test)
