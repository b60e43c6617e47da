"""The upstreams of an installation: from `upstreams.yaml`, or from the settings for a single one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput, NotFound

from .address import refused, site
from .credential import Credential
from .supplier import SPOKEN, Dialect, Retry, Supplier, Timeouts
from .supplyfile import read_supply
from .traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bedplate.config import Settings

    from .traffic import SupplierView


class Supply:
    """Every upstream by name and by the address that releases hold, with what goes on at each."""

    def __init__(self, suppliers: Sequence[Supplier], default: str = "") -> None:
        self.default = default  # the name that `default` stands for; "" where there is none
        self._by_name = {s.name: s for s in suppliers}
        self._traffic = {s.address: Traffic(s) for s in suppliers}

    def __iter__(self) -> Iterator[Supplier]:
        return iter(self._by_name.values())

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and self.traffic(address) is not None

    def of(self, name: str) -> Supplier:
        """Return an upstream by its name, or the one that is `default`; `NotFound` lists those there are."""
        offered = self.offered()
        if name not in offered:
            raise NotFound(f"there is no upstream {name!r}", hint=f"known here: {', '.join(sorted(offered))}")
        return offered[name]

    def offered(self) -> dict[str, Supplier]:
        """Return what use cases may name: every upstream, and `default` where something stands for it."""
        chosen = {"default": self._by_name[self.default]} if self.default else {}
        return {**self._by_name, **chosen}

    def at(self, address: str) -> Supplier | None:
        """Return an upstream by the address that a release holds."""
        found = self.traffic(address)
        return found.supplier if found is not None else None

    def traffic(self, address: str) -> Traffic | None:
        """Return what goes on at this address. A `/` at its end means nothing: older releases may hold one."""
        return self._traffic.get(address) or self._traffic.get(address.rstrip("/"))

    def view(self, now: int) -> list[SupplierView]:
        """Show all of them, in the order of the file; `now` in monotonic microseconds."""
        return [traffic.view(now) for traffic in self._traffic.values()]


def open_supply(settings: Settings, *, local_url: str = "", local_model: str = "") -> Supply:
    """Build the supply of an installation; what is wrong with it is an `InvalidInput` that says where.

    `local_url` is where the small model of the extra `local-llm` answers, if it runs.
    """
    suppliers, default = [embedded()], ""
    if local_url:
        suppliers.append(local(local_url, local_model, settings.upstream_timeout_s))
        default = "local"
    if settings.upstreams:
        if settings.upstream_url:
            raise InvalidInput(
                "both BEDPLATE_UPSTREAMS and BEDPLATE_UPSTREAM_URL are set",
                hint="put the URL into the file, and unset BEDPLATE_UPSTREAM_URL; releases of it stay good",
            )
        listed, chosen = read_supply(Path(settings.upstreams), os.environ)
        return Supply([*suppliers, *listed], default or chosen)
    if settings.upstream_url and not local_url:
        suppliers.append(single(settings, os.environ))
        default = "default"
    return Supply(suppliers, default)


def embedded(model: str = "bedplate-extractive-1") -> Supplier:
    """Make the one within this process that quotes and generates nothing."""
    return Supplier("embedded", "", "embedded", "embedded", SPOKEN["embedded"], model=model)


def local(url: str, model: str, timeout_s: int) -> Supplier:
    """Make the one that serves a small model within this process; its port is another each time, its address is not."""
    spoken: frozenset[Dialect] = frozenset({"chat"})
    return Supplier("local", url, "openai", "local", spoken, model=model, timeouts=_patient(timeout_s), retry=_never())


def single(settings: Settings, environment: Mapping[str, str]) -> Supplier:
    """Make the one of the settings, without limits: as it was before there was a file."""
    name, url = settings.upstream_key_env, settings.upstream_url
    try:
        why = refused(site(url, insecure=True).host)
    except ValueError as wrong:
        why = str(wrong)
    if why:
        raise InvalidInput(f"BEDPLATE_UPSTREAM_URL: {why}", hint="a file says more: BEDPLATE_UPSTREAMS")
    return Supplier(
        name="default",
        url=url,
        shape="openai",
        address=url,
        protocols=SPOKEN["openai"],
        key=Credential.of_variable(name, environment) if environment.get(name) else Credential.none(),
        model=settings.upstream_model,
        timeouts=_patient(settings.upstream_timeout_s),
        max_concurrent=100_000,
        retry=_never(),
    )


def _patient(seconds: int) -> Timeouts:
    return Timeouts(min(10, seconds) * 1000, seconds * 1000, seconds * 1000, 3_600_000)


def _never() -> Retry:
    return Retry(attempts=0)
