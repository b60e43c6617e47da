"""What is done about data: index a version of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .governance import INDEX
from .index import Index, chunk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor


def index_source(
    governor: Governor, by: str, subject: str, source: str, files: Mapping[str, str], folder: Path, personal: str
) -> str:
    """Chunk and index the Markdown files of a source; returns the version. The same files give the same version."""
    passages = chunk(files)
    index = Index.build(folder, passages)
    with governor.act(by, INDEX, subject, facts={"source": source, "version": index.version}) as act:
        data: dict[str, Value] = {
            "source": source,
            "version": index.version,
            "passages": len(passages),
            "files": len(files),
        }
        act.record("data.source.indexed", {**data, "personal": personal})
    return index.version
