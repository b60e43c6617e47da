"""What the door of actions works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from bedplate.kernel.clock import Clock
    from bedplate.kernel.control import Control

    from .human import People
    from .record import ActRecorder
    from .runstore import RunStore
    from .sight import Sight
    from .token import Mint
    from .watch import Watch
    from .window import Windows


@dataclass(frozen=True, slots=True)
class Parts:
    """What the door works with; the composition root hands it over. `windows` tell of what was agreed beforehand."""

    sight: Sight
    store: RunStore
    recorder: ActRecorder
    people: People
    watch: Watch
    mint: Mint
    controls: tuple[Control, ...]
    clock: Clock
    identify: Callable[[], str]
    content: Callable[[str], dict[str, Any] | None]
    salt: bytes  # under which provenance is hashed
    noticed: Callable[[str, str, str, str], None] = lambda _sort, _name, _subject, _route: None
    windows: Windows | None = None
