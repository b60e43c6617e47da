"""What a use case's file means by its models here: addresses and names, which go into the release and its digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput

from .path import SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.portfolio.usecase import ModelPart, TargetPart

    from .thread import Offer

Chosen = dict[str, str]  # {upstream: its address, model: its name}
GENERATING = frozenset({"chat", "responses", "messages"})


def targets(model: ModelPart, offers: Mapping[str, Offer]) -> tuple[Chosen, tuple[Chosen, ...], Chosen]:
    """Return what answers, what answers where that fails, and what embeds ({} for nothing).

    Raises `InvalidInput` for an upstream that is not configured here, naming those that are.
    """
    primary = _target(model, offers, "model", GENERATING)
    asked = [primary]
    for number, part in enumerate(model.fallbacks or ()):
        found = _target(part, offers, f"model.fallbacks.{number}", GENERATING)
        if found not in asked:  # two names may mean the same here, `default` and another, say
            asked.append(found)
    embedding: Chosen = {}
    if model.embedding is not None:
        embedding = _target(model.embedding, offers, "model.embedding", frozenset({"embeddings"}))
    return primary, tuple(asked[1:]), embedding


def _target(part: TargetPart, offers: Mapping[str, Offer], where: str, needs: frozenset[str]) -> Chosen:
    # Without a configured one, `default` is the embedded answerer, so that everything can be tried without a provider.
    offer = offers.get(part.upstream, offers["embedded"] if part.upstream == "default" else None)
    if offer is None:
        known = ", ".join(sorted({*offers, "default"}))
        raise InvalidInput(f"{SPEC} {where}.upstream: no upstream {part.upstream!r} here", hint=f"known here: {known}")
    if offer.protocols and not offer.protocols & needs:
        spoken = ", ".join(sorted(offer.protocols))
        raise InvalidInput(f"{SPEC} {where}.upstream: {part.upstream!r} speaks only {spoken}", hint="name another one")
    name = offer.model if part.name == "default" else part.name
    if not name:
        raise InvalidInput(f"{SPEC} {where}.name: {part.upstream!r} has no default model", hint="name the model")
    return {"upstream": offer.address, "model": name}
