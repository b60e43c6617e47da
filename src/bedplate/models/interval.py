"""How sure a share is: Wilson's 95 % interval in whole numbers, and how many cases a wanted lower bound needs."""

from __future__ import annotations

from math import isqrt

# The square of the normal quantile for 95 %, 1.959963984540054², times SCALE: Wilson's bounds in whole numbers.
SCALE = 10**12
Z_SQUARED = 3_841_458_820_694


def wilson(passed: int, total: int) -> tuple[int, int]:
    """Return the bounds in permille, the lower rounded down and the upper up (E. B. Wilson, 1927, JASA 22, 209-212).

    Of no cases at all nothing is known: (0, 1000).
    """
    return weighted(passed, total - passed, total)


def weighted(passed: int, failed: int, squares: int) -> tuple[int, int]:
    """Return the bounds of a weighted share: the weights that passed, that failed, and the sum of all their squares.

    The number of cases is Kish's effective one, (Σw)²/Σw² (Survey Sampling, 1965): a few heavy cases do not make a
    result surer. With weights of 1 this is Wilson's interval.
    """
    if not passed + failed:
        return 0, 1000
    return _lower(passed, failed, squares), 1000 - _lower(failed, passed, squares)


def cases_needed(passed: int, total: int, percent: int) -> int:
    """Return how many cases, passing at the same share, put the lower bound at `percent`; 0 where no number does.

    Wilson's interval inverts the score test, so that with share p and bound q it is z²·q·(1 - q)/(p - q)².
    """
    above = 100 * passed - percent * total
    if above <= 0:
        return 0
    return -(-Z_SQUARED * percent * (100 - percent) * total * total // (SCALE * above * above))


def _lower(passed: int, failed: int, squares: int) -> int:
    weight = passed + failed
    spread = Z_SQUARED * Z_SQUARED + 4 * passed * failed * Z_SQUARED * SCALE // squares
    root = isqrt(spread)
    root += root * root < spread  # towards the smaller bound
    above = max(0, 2 * passed * weight * SCALE + squares * (Z_SQUARED - root))
    return 1000 * above // (2 * (weight * weight * SCALE + squares * Z_SQUARED))
