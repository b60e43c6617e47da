"""What a release relies on beyond its own files: data contracts, and the vendors of its models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.data import actions as data
from bedplate.data.views import contract_checks
from bedplate.vendors import actions as vendors
from bedplate.vendors.governance import CURRENT
from bedplate.vendors.vendor import Target
from bedplate.vendors.views import vendors as register

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bedplate.kernel.model import TierPlan
    from bedplate.portfolio.usecase import UseCaseFile
    from bedplate.releases.bundle import Bundle

    from .thread import Offer, Workshop


def rely_on(shop: Workshop, by: str, file: UseCaseFile, bundle: Bundle, plan: TierPlan) -> None:
    """Put on record what the gate judges the release by, as it stands now."""
    named = sorted({part.contract for part in file.data if part.contract is not None})
    checks = contract_checks(shop.engine, named)
    data.rely(shop.governor, by, file.subject, {name: checks.get(name, []) for name in named})
    targets = asked(bundle, shop.upstreams)
    if CURRENT in plan.controls or not all(target.own for target in targets):
        known = {v.supply: v.known() for v in register(shop.engine, shop.governor.clock())}
        vendors.rely(shop.governor, by, file.subject, bundle.digest, targets, known)


def asked(bundle: Bundle, offers: Mapping[str, Offer]) -> list[Target]:
    """List the models that a release asks: the first, those that answer where it fails, and the one that embeds."""
    every = [{"upstream": bundle.upstream, "model": bundle.model}, *bundle.fallbacks]
    every += [bundle.embedding] if bundle.embedding else []
    return [target(one["upstream"], one["model"], offers) for one in every]


def target(address: str, model: str, offers: Mapping[str, Offer]) -> Target:
    """Name an upstream by its address, and by what it is called here."""
    return Target(address, model, tuple(_names(address, offers.items())))


def _names(address: str, offers: Iterable[tuple[str, Offer]]) -> list[str]:
    return sorted({n for name, offer in offers if offer.address == address for n in (name, offer.name)})
