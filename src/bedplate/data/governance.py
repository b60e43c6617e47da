"""How data is governed: which version of which source an assistant may answer from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.action import Action
from bedplate.kernel.manifest import Kind, Manifest

if TYPE_CHECKING:
    from bedplate.kernel.event import Event
    from bedplate.kernel.standing import Standing

INDEX = Action("data.index", "data:source:index", "Index a version of a source for retrieval.")

REMEMBERED = 16  # versions


def _indexed(standing: Standing, event: Event) -> Standing:
    """Note when a version of a source was last read anew, and how many days that may be ago (0: any number)."""
    known = standing.facts.get("data.indexed", {})
    if not isinstance(known, dict):
        raise TypeError("when sources were indexed must be an object")
    version = str(event.data["version"])
    kept = {
        **{v: told for v, told in known.items() if v != version},
        version: [event.at, event.data.get("max_age_days", 0)],
    }
    return standing.with_facts(data__indexed=dict(list(kept.items())[-REMEMBERED:]))


MANIFEST = Manifest(
    plane="data",
    actions=(INDEX,),
    kinds=(
        Kind(
            "data.source.indexed",
            {
                "source": "text",
                "version": "text",
                "passages": "int",
                "files": "int",
                "personal": "text",
                "max_age_days": "int",
            },
            "A source was chunked and indexed; the version is the digest of its passages.",
            _indexed,
        ),
    ),
)
