"""The port: both ledgers are one, by type and by what their transactions offer."""

from __future__ import annotations

import inspect

from bedplate.bootstrap import MANIFESTS
from bedplate.kernel.ledger import Ledger, Transaction
from bedplate.kernel.manifest import catalogue
from bedplate.store.ledger import SqlLedger, SqlTransaction
from bedplate.testing import MemoryLedger, MemoryTransaction, SettableClock


def test_both_ledgers_are_ledgers() -> None:
    one: Ledger = MemoryLedger(catalogue(MANIFESTS), SettableClock())
    other: type[Ledger] = SqlLedger
    with one.transaction() as tx:
        offered: Transaction = tx
        assert isinstance(offered, MemoryTransaction)
    assert other is SqlLedger


def test_both_transactions_offer_the_same() -> None:
    for name in (n for n, _ in inspect.getmembers(Transaction, inspect.isfunction) if not n.startswith("_")):
        wanted = inspect.signature(getattr(Transaction, name))
        assert inspect.signature(getattr(MemoryTransaction, name)) == wanted
        assert inspect.signature(getattr(SqlTransaction, name)) == wanted
