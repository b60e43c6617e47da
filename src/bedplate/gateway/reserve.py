"""What a call may cost, counted before it is made, so that parallel calls see each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .budget import Limits, Over

if TYPE_CHECKING:
    from bedplate.kernel.model import TierPlan

    from .call import Request, Trace
    from .parts import Parts
    from .recipe import Recipe

EXPECTED_OUT = 256  # tokens reserved for an answer whose length the client does not bound


class Reserve:
    """Reserves of the budgets, and gives back."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._limits: dict[str, tuple[TierPlan, Recipe, Limits]] = {}

    def take(self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request) -> tuple[str, str, str] | None:
        """Count the call against the budget; return why it is over, if it is."""
        known = self._limits.get(trace.subject)
        if known is None or known[0] is not plan or known[1] is not recipe:
            known = self._limits[trace.subject] = (plan, recipe, Limits.of(plan, recipe))
        most_out = request.dialect.most_out(request.body) or EXPECTED_OUT
        tokens_in = request.size // 4 + 1
        price = self._p.price(recipe.model, recipe.upstream, trace.started)
        cost = price.cost(tokens_in, 0, most_out)
        made = self._p.budgets.reserve(trace.subject, known[2], tokens_in + most_out, cost, trace.started)
        if isinstance(made, Over):
            return "within-budget", made.reason, "wait, or have the budget raised"
        trace.reservation = made
        if known[2].warn_percent and self._p.budgets.today(trace.subject, trace.started).state(known[2]) == "warn":
            trace.warns = True
        return None

    def back(self, trace: Trace) -> None:
        """Give back what was counted for a call that was not made."""
        if trace.reservation is not None:
            self._p.budgets.release(trace.reservation)
            trace.reservation = None
