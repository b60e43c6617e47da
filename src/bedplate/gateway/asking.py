"""What an upstream is asked, and which: as the release says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .grounding import render
from .route import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .call import Request
    from .grounding import Numbered
    from .recipe import Recipe


def targets_of(recipe: Recipe, request: Request) -> Sequence[Target]:
    """List what the release approved in the order it is tried: the model that was named first."""
    if request.dialect.name == "embeddings" and recipe.embedding:
        return [Target(recipe.embedding["upstream"], recipe.embedding["model"])]
    return sorted(recipe.targets, key=lambda t: t.model != request.model) if recipe.fallbacks else recipe.targets


def composed(recipe: Recipe, request: Request, passages: Sequence[Numbered]) -> dict[str, Any]:
    """Put the released prompt and the passages where the protocol tells the model how to answer.

    The last such word counts: a client cannot slip in passages of its own.
    """
    system = recipe.prompt + ("\n\n" + render(passages) if recipe.index else "")
    body = request.dialect.composed(request.body, system)
    return {**body, "metadata": {"unanswered": recipe.unanswered}} if recipe.upstream == "embedded" else body
