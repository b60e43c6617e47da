"""Two runs, sample by sample: what fails now, what passes now, and whether chance explains it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, comb
from typing import TYPE_CHECKING

from .suite import MUST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .suite import Outcome

MILLION = 1_000_000
SIGNIFICANT = Fraction(5, 100)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one run went against an earlier one. Cases are told apart by id, and compared only if they are the same.

    `p_millionths` is McNemar's exact probability, rounded up, that it is no worse and came out so by chance.
    """

    shared: int
    newly_failing: tuple[str, ...]
    newly_passing: tuple[str, ...]
    changed: tuple[str, ...]  # other words, same verdict
    added: tuple[str, ...]  # asked only now, or another case than before
    removed: tuple[str, ...]
    must: tuple[str, ...]  # newly failing, and tagged `must`
    p_millionths: int
    worse: bool  # by chance in fewer than one of twenty, or a case that must hold

    @property
    def summary(self) -> str:
        """The comparison in one line."""
        told = f"{self.shared} cases in common: {len(self.newly_failing)} newly failing"
        named = f" ({', '.join(self.newly_failing[:5])})" if self.newly_failing else ""
        chance = f"p = {self.p_millionths / MILLION:.4f} that it is no worse"
        must = f"; must hold: {', '.join(self.must[:5])}" if self.must else ""
        return f"{told}{named}, {len(self.newly_passing)} newly passing; {chance}{must}"


def compare(before: Sequence[Outcome], after: Sequence[Outcome]) -> Comparison:
    """Compare two runs by their samples."""
    earlier, later = _by_case(before), _by_case(after)
    shared = [name for name in later if name in earlier and _alike(earlier[name], later[name])]
    failing = tuple(name for name in shared if earlier[name].passed and not later[name].passed)
    passing = tuple(name for name in shared if later[name].passed and not earlier[name].passed)
    same = [name for name in shared if later[name].passed == earlier[name].passed]
    p = mcnemar(len(failing), len(passing))
    must = tuple(name for name in failing if MUST in later[name].tags)
    return Comparison(
        shared=len(shared),
        newly_failing=failing,
        newly_passing=passing,
        changed=tuple(name for name in same if _reworded(earlier[name], later[name])),
        added=tuple(name for name in later if name not in shared),
        removed=tuple(name for name in earlier if name not in later),
        must=must,
        p_millionths=ceil(p * MILLION),
        worse=p < SIGNIFICANT or bool(must),
    )


def mcnemar(newly_failing: int, newly_passing: int) -> Fraction:
    """Return the exact one-sided probability of at least so many new failures, were either change as likely.

    Q. McNemar, 1947, Psychometrika 12, 153-157; exact, by the binomial distribution. Cases that did not change say
    nothing. Without any change it is 1.
    """
    changed = newly_failing + newly_passing
    return Fraction(sum(comb(changed, k) for k in range(newly_failing, changed + 1)), 2**changed)


def _by_case(outcomes: Sequence[Outcome]) -> Mapping[str, Outcome]:
    return {outcome.case: outcome for outcome in outcomes}


def _alike(one: Outcome, other: Outcome) -> bool:
    """Tell whether it was the same case; results of before cases were digested are taken by their id."""
    return one.case_digest == other.case_digest or not (one.case_digest and other.case_digest)


def _reworded(one: Outcome, other: Outcome) -> bool:
    return bool(one.answer and other.answer) and one.answer != other.answer
