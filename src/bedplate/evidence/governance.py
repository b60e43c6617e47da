"""How evidence is governed: only the system anchors records; everybody signed in may ask for a proof."""

from __future__ import annotations

from bedplate.kernel.action import Action
from bedplate.kernel.manifest import Manifest

ANCHOR = Action(
    "evidence.anchor",
    "evidence:shard:anchor",
    "Anchor call records in the ledger.",
    registered=False,
    founding=("system",),
)

MANIFEST = Manifest(plane="evidence", actions=(ANCHOR,))
