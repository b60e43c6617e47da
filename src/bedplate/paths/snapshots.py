"""What calls are judged against, read from the records: everything once, and from then on only what has changed."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from sqlalchemy import select

from bedplate.agents.charter import Charter
from bedplate.agents.stop import ALL, stopped
from bedplate.errors import BedplateError
from bedplate.gateway import tables as gateway_tables
from bedplate.gateway.cost import tariff_in_force
from bedplate.gateway.governance import GIVE
from bedplate.gateway.held import REMEMBERED, Held
from bedplate.gateway.snapshot import Key, Snapshot
from bedplate.kernel.standing import from_plain
from bedplate.models.views import prompt_book
from bedplate.releases import views as releases
from bedplate.store import tables as t
from bedplate.store.reads import read_approval, read_blob

from .thread import recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Connection, Engine

    from bedplate.gateway.held import Question
    from bedplate.gateway.price import Prices
    from bedplate.gateway.recipe import Recipe
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing
    from bedplate.models.prompt import PromptBook, Shelf

log = logging.getLogger(__name__)


class Snapshots:
    """Reads snapshots one after the other; each begins from the one before. For one thread at a time.

    `model_of` reads the operating model in force. `prices` follow what was agreed and `shelf` gets the prompts of the
    live releases, so that no call waits for either.
    """

    def __init__(
        self,
        engine: Engine,
        model_of: Callable[[Connection], OperatingModel | None],
        prices: Prices,
        shelf: Shelf,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._model_of = model_of
        self._prices = prices
        self._shelf = shelf
        self._clock = clock
        self._size = 0
        self._keys: dict[str, Key] = {}
        self._standings: dict[str, Standing] = {}
        self._recipes: dict[str, Recipe] = {}
        self._ids: dict[str, Key] = {}
        self._charters: dict[str, Charter] = {}
        self._held: dict[str, Held] = {}  # by approval
        self._books: dict[str, PromptBook] = {}

    def load(self) -> Snapshot:
        """Read what the ledger holds now, in one transaction.

        A release that cannot be read is left out, and said in the log: its calls are refused, everybody else's go on.
        """
        standing, key = t.standing, gateway_tables.key
        with self._engine.connect() as connection:
            size = int(connection.execute(select(t.head.c.size)).scalar_one())
            if size < self._size:  # another ledger, restored in the place of the one we knew
                self._size, self._keys, self._standings, self._recipes, self._held = 0, {}, {}, {}, {}
            since = self._size
            model = self._model_of(connection)
            moved = {
                row.subject: from_plain(json.loads(row.body))
                for row in connection.execute(
                    select(standing.c.subject, standing.c.body).where(standing.c.last_seq >= since)
                )
            }
            issued = {
                row.digest: Key(row.id, row.subject, row.digest, row.expires, bool(row.revoked_at), row.agent)
                for row in connection.execute(select(key).where(key.c.last_seq >= since))
            }
            asked = self._asked(connection, since)
        # Copied, not changed: calls are being judged against the ones there are.
        keys = {**self._keys, **issued} if issued else self._keys
        standings = {**self._standings, **moved} if moved else self._standings
        recipes = self._released(moved) if moved else self._recipes
        self._follow(recipes)
        held = self._held = asked
        self._size, self._keys, self._standings, self._recipes = size, keys, standings, recipes
        if issued:
            self._ids = {key.id: key for key in keys.values()}
        return Snapshot(
            size,
            model,
            keys,
            standings,
            recipes,
            _questions(held.values()),
            self._charters,
            self._ids,
            halted(standings),
        )

    def _asked(self, connection: Connection, since: int) -> dict[str, Held]:
        """Return the answers that are held, or were not long ago, by the approval about each."""
        now, approval = self._clock(), t.approval
        moved = select(approval.c.id).where(
            approval.c.action == GIVE.name, approval.c.last_seq >= since, approval.c.expires > now - REMEMBERED
        )
        found = (read_approval(connection, name) for name in connection.execute(moved).scalars().all())
        asked = {**self._held, **{a.id: Held.of(a) for a in found if a is not None}}
        return {name: held for name, held in asked.items() if not held.over(now)}

    def _released(self, moved: dict[str, Standing]) -> dict[str, Recipe]:
        recipes = dict(self._recipes)
        for subject, standing in moved.items():
            known = recipes.get(subject)
            if known is not None and known.release == standing.release:
                continue
            recipes.pop(subject, None)
            self._charters = {name: c for name, c in self._charters.items() if name != subject}
            if standing.release:
                try:
                    recipes[subject] = self._recipe(standing.release)
                except (BedplateError, KeyError, TypeError, ValueError) as wrong:
                    log.warning(
                        "release.not_loaded", extra={"subject": subject, "release": standing.release, "why": str(wrong)}
                    )
        return recipes

    def _recipe(self, release: str) -> Recipe:
        bundle = releases.bundle(self._engine, release)
        with self._engine.connect() as connection:
            if bundle.agents:
                charter = Charter.read(read_blob(connection, bundle.agents))
                self._charters = {**self._charters, bundle.use_case: charter}
            return recipe(bundle, read_blob(connection, bundle.prompt).decode())

    def _follow(self, recipes: dict[str, Recipe]) -> None:
        self._prices.follow(tariff_in_force(self._engine)[0])
        if recipes is self._recipes:
            return
        pairs = {(target.model, target.upstream) for r in recipes.values() for target in r.targets}
        pairs |= {(r.embedding["model"], r.embedding["upstream"]) for r in recipes.values() if r.embedding}
        self._prices.warm(pairs, self._clock())
        books = {}
        for subject, made in recipes.items():
            if made.prompts:
                known = self._books.get(made.release)
                books[made.release] = known or prompt_book(self._engine, subject, made.prompts)
        self._books = self._shelf.books = books


def halted(standings: Mapping[str, Standing]) -> str:
    """Say why everything is stopped; "" if it is not."""
    return stopped(standings.get(ALL))


def _questions(held: Iterable[Held]) -> dict[Question, Held]:
    """Return held answers by what asks for them; of several the newest."""
    return {one.question: one for one in sorted(held, key=lambda h: (h.asked_at, h.approval))}
