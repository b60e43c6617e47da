"""What is done about paths: publish one from a proven use case."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .governance import PUBLISH
from .path import template_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor


def publish(governor: Governor, by: str, subject: str, release: str, files: Mapping[str, str], version: int) -> str:
    """Publish the files of the live release as a path; returns its name, that of the use case."""
    name = subject.partition("/")[2]
    with governor.act(by, PUBLISH, subject, facts={"release": release}) as act:
        kept: dict[str, Value] = {f: act.keep(text.encode()) for f, text in template_of(files, name, version).items()}
        act.record("paths.path.published", {"path": name, "version": version, "release": release, "files": kept})
    return name
