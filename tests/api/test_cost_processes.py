"""One budget over two processes of a host, one of which is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests import served
from tests.served import HR, Harbour, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 7


def used(harbour: Harbour) -> int:
    lines = harbour.person("leo").get("/api/cost/budgets")["budgets"]
    return next(int(b["used"]) for b in lines if (b["subject"], b["limit"]) == (f"usecase/{HR}", "calls_per_day"))


def statuses(harbours: Sequence[Harbour], calls: int) -> list[int]:
    return [harbours[n % len(harbours)].call(ask())[0] for n in range(calls)]


def test_two_processes_share_a_budget_and_none_is_lost_with_one_of_them() -> None:
    data = served.fresh()
    with served.Server(data) as one:
        at = served.harbour(one)
        served.go_live(at, served.files_of(served.use_case(budget=MOST)), "hanna")
        with served.Server(data) as two:
            both = [at, served.harbour(two)]
            assert statuses(both, 4) == [200] * 4
            assert [used(h) for h in both] == [4, 4]
            one.kill()
            assert used(both[1]) == 4, "what it had recorded counts"
            assert statuses(both[1:], 5) == [200, 200, 200, 403, 403]
            refused = both[1].call(ask())[1]
            assert "within-budget" in {r["control"] for r in refused["error"]["reasons"]}
