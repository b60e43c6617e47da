"""How data is governed: which version of which source an assistant may answer from."""

from __future__ import annotations

from bedplate.kernel.action import Action
from bedplate.kernel.manifest import Kind, Manifest

INDEX = Action("data.index", "data:source:index", "Index a version of a source for retrieval.")

MANIFEST = Manifest(
    plane="data",
    actions=(INDEX,),
    kinds=(
        Kind(
            "data.source.indexed",
            {"source": "text", "version": "text", "passages": "int", "files": "int", "personal": "text"},
            "A source was chunked and indexed; the version is the digest of its passages.",
        ),
    ),
)
