"""What a plane declares to the kernel, and the catalogue made of all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from bedplate.errors import InvalidInput

from .control import Control, fires
from .standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .action import Action
    from .event import Data, Draft, Event

Kinds = Literal["text", "int", "list", "object"]
_TYPES: Mapping[str, type | tuple[type, ...]] = {"text": str, "int": int, "list": list, "object": dict}
_NAME = re.compile(r"[a-z]+\.[a-z]+\.[a-z]+(_[a-z]+)?")
_PERMISSION = re.compile(r"[a-z]+:[a-z]+:[a-z]+")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event: its name, its fields in order, and how it moves the standing of its stream.

    New fields go last and are optional in old events; a kind is never edited otherwise.
    """

    name: str
    fields: Mapping[str, Kinds]
    doc: str
    moves: Callable[[Standing, Event], Standing] | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A plane's verbs, controls and events. One per plane, in its `governance.py`."""

    plane: str
    actions: tuple[Action, ...] = ()
    controls: tuple[Control, ...] = ()
    kinds: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything declared, by name. Built once by `catalogue`."""

    actions: Mapping[str, Action]
    controls: Mapping[str, Control]
    kinds: Mapping[str, Kind]
    permissions: frozenset[str] = field(default=frozenset())

    def check(self, draft: Draft) -> None:
        """Refuse a draft whose kind is not declared or whose payload is not the declared one."""
        kind = self.kinds.get(draft.kind)
        if kind is None:
            raise InvalidInput(f"{draft.kind} is not a declared event")
        if problem := _mismatch(kind, draft.data):
            raise InvalidInput(f"{draft.kind} on {draft.stream}: {problem}")

    def move(self, standing: Standing | None, event: Event) -> Standing | None:
        """Fold one event into the standing of its stream; None when the stream has none and the kind makes none."""
        kind = self.kinds.get(event.kind)
        if kind is None or kind.moves is None:
            return None if standing is None else replace(standing, version=event.version)
        base = standing or Standing(event.stream)
        return replace(kind.moves(base, event), version=event.version)


def catalogue(manifests: Iterable[Manifest]) -> Catalogue:
    """Merge manifests; `InvalidInput` on a double name, a bad name, or a control that cannot refuse."""
    actions: dict[str, Action] = {}
    controls: dict[str, Control] = {}
    kinds: dict[str, Kind] = {}
    for manifest in manifests:
        for action in manifest.actions:
            if action.name in actions or not _PERMISSION.fullmatch(action.needs):
                raise InvalidInput(f"action {action.name} is declared twice or needs an odd permission {action.needs}")
            actions[action.name] = action
        for control in manifest.controls:
            if control.name in controls or not control.doc:
                raise InvalidInput(f"control {control.name} is declared twice or has no doc")
            if not fires(control):
                raise InvalidInput(f"control {control.name} does not refuse its own canary")
            controls[control.name] = control
        for kind in manifest.kinds:
            if kind.name in kinds or not _NAME.fullmatch(kind.name):
                raise InvalidInput(f"event {kind.name} is declared twice or is not plane.noun.verb")
            kinds[kind.name] = kind
    return Catalogue(actions, controls, kinds, frozenset(a.needs for a in actions.values()))


def _mismatch(kind: Kind, data: Data) -> str:
    if surplus := set(data) - set(kind.fields):
        return f"unknown fields {sorted(surplus)}"
    if lacking := set(kind.fields) - set(data):
        return f"missing fields {sorted(lacking)}"
    for name, wanted in kind.fields.items():
        if not isinstance(data[name], _TYPES[wanted]) or isinstance(data[name], bool):
            return f"{name} must be {wanted}, not {type(data[name]).__name__}"
    return ""
