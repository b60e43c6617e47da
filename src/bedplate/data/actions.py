"""What is done about data: index a version of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.decision import Deny

from .governance import INDEX
from .index import Index, chunk, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor


def index_source(
    governor: Governor,
    by: str,
    subject: str,
    source: str,
    files: Mapping[str, str],
    folder: Path,
    personal: str,
    max_age_days: int = 0,
) -> str:
    """Chunk and index the Markdown files of a source; returns the version. The same files give the same version.

    `max_age_days`: how long calls may be answered from what was read now; 0 for ever.
    """
    passages = chunk(files)
    facts: dict[str, Value] = {"source": source, "version": version_of(passages)}
    _, verdict = governor.judge(by, INDEX, subject, facts)
    if isinstance(verdict, Deny):  # before anything is written to the disk; this puts it on record, and raises it
        with governor.act(by, INDEX, subject, facts=facts):
            pass
    index = Index.build(folder, passages)
    with governor.act(by, INDEX, subject, facts=facts) as act:
        data: dict[str, Value] = {
            "source": source,
            "version": index.version,
            "passages": len(passages),
            "files": len(files),
        }
        act.record("data.source.indexed", {**data, "personal": personal, "max_age_days": max_age_days})
    return index.version
