"""What people do about people: propose and apply an operating model, invite, sign in and out."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

from bedplate.document import Document, InvalidDocument
from bedplate.errors import InvalidInput
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.event import Data, Value, canonical

from .account import Purpose, Token, mint
from .governance import APPLY_MODEL, INVITE, LIMIT, ORGANISATION, PROPOSE_MODEL, SIGN_IN, SIGNAL, TRAIN
from .structure import OperatingModelFile, dangling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.governor import Governor

LIFETIME = {"invitation": 7 * DAY, "cli": 90 * DAY, "session": 12 * 3600 * SECOND}
# What is a technical standard, by its whole path: nobody's id can make a policy look like one.
TECHNICAL = re.compile(r"tiers\.[1-4]\.(controls|guardrails|monitors|lease_ms|oversight\.sample_percent)(\.|$)")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the model in force and a proposed one, and which body must agree to it."""

    path: str
    before: str
    after: str
    needs: str  # "policy" (board) or "technical" (coe)


def check_model(governor: Governor, document: Document) -> OperatingModelFile:
    """Check a file; `InvalidDocument` with every complaint, names that point nowhere included."""
    file = document.read(OperatingModelFile)
    catalogue = governor.catalogue
    wrong = dangling(file, frozenset(catalogue.controls), catalogue.permissions)
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return file


def compare(before: dict[str, Any] | None, after: dict[str, Any]) -> list[Change]:
    """List what changes, key by key; lists of named things are compared by name."""
    if before is None:
        return [Change("(everything)", "", "founding", "policy"), Change("(everything)", "", "founding", "technical")]
    old, new = _flat(before), _flat(after)
    return [
        Change(path, old.get(path, ""), new.get(path, ""), _needs(path))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def apply_model(governor: Governor, by: str, file: OperatingModelFile, in_force: dict[str, Any] | None) -> str:
    """Put a model in force; returns its digest. `NeedsApproval` until the bodies it touches agree."""
    body = file.plain()
    changes = compare(in_force, body)
    if not changes:
        raise InvalidInput("this operating model is in force already", code="no-change")
    content = canonical(body)
    with governor.act(by, PROPOSE_MODEL, ORGANISATION) as act:
        digest = act.keep(content)
        act.record("kernel.model.proposed", {"digest": digest})
    touches: list[Value] = [*sorted({c.needs for c in changes})]
    base = hashlib.sha256(canonical(in_force)).hexdigest() if in_force is not None else ""
    facts: dict[str, Value] = {"digest": digest, "base": base, "touches": touches, "posture": file.posture}
    _apply(governor, by, facts)
    return digest


def carry_out_apply(governor: Governor, approval: Approval) -> None:
    """Put in force what was approved."""
    if approval.state == "granted":
        _apply(governor, approval.requester, dict(approval.facts))


def _apply(governor: Governor, by: str, facts: dict[str, Value]) -> None:
    summary = f"operating model {str(facts['digest'])[:12]}: {' and '.join(map(str, _list(facts['touches'])))} change"
    with governor.act(by, APPLY_MODEL, ORGANISATION, facts=facts, summary=summary) as act:
        data = {"digest": facts["digest"], "version": 1, "posture": facts["posture"]}
        act.record("kernel.model.applied", data)


def invite(governor: Governor, by: str, person: str, name: str, *, known: bool = False) -> Token:
    """Let somebody open an account: the returned code works once, for seven days.

    `known` tells that they have one: then the code signs in as them, and only the operator may make it.
    """
    token = mint("i")
    with governor.act(
        by, INVITE, f"person/{person}", facts={"person": person, "known": "yes" if known else "no"}
    ) as act:
        data: dict[str, Value] = {"person": person, "name": name, "token": token.id, "digest": token.digest}
        act.record("people.account.invited", {**data, "expires": governor.clock() + LIFETIME["invitation"]})
    return token


def sign_in(governor: Governor, person: str, purpose: Purpose, *, spend: str = "") -> Token:
    """Issue a token to somebody who has proved who they are; `spend` is the invitation that proved it.

    An invitation is spent by an event whose id is made of it, so that of two at once only one succeeds.
    """
    token = mint("t")
    once = str(uuid5(NAMESPACE_OID, f"bedplate:invitation:{spend}")) if spend else ""
    with governor.act(person, SIGN_IN, f"person/{person}", request=once) as act:
        if spend:
            act.record("people.token.revoked", {"token": spend})
        data: dict[str, Value] = {"person": person, "token": token.id, "digest": token.digest, "purpose": purpose}
        act.record("people.token.issued", {**data, "expires": governor.clock() + LIFETIME[purpose]})
    return token


def note_limit(governor: Governor, of: str, name: str, failures: int, until: int) -> None:
    """Put on record that an account ("" if nobody has it) or an address (its digest) has to wait until a moment."""
    stream = f"person/{name}" if of == "account" and name else "sign-in"
    with governor.act(SYSTEM, LIMIT, stream) as act:
        act.record("people.signin.limited", {"of": of, "name": name, "failures": failures, "until": until})


def train(governor: Governor, by: str, person: str, competence: str, *, at: int, evidence: str) -> None:
    """Record that somebody showed a competence at a moment; `evidence` says how, or where that is kept."""
    if not evidence.strip():
        raise InvalidInput("a training needs its evidence", hint="say how it was shown: --evidence 'course 12, passed'")
    facts: dict[str, Value] = {"person": person, "competence": competence, "at": at}
    with governor.act(by, TRAIN, f"person/{person}", facts=facts) as act:
        act.record("people.training.recorded", {"competence": competence, "at": at, "evidence": evidence.strip()})


def signal(governor: Governor, body: str, found: Data) -> None:
    """Tell board and CoE, as the system, that decisions pile up at a body while AI is used past it."""
    with governor.act(SYSTEM, SIGNAL, ORGANISATION, facts={"body": body}) as act:
        act.record("people.bottleneck.signalled", {"body": body, **found})


def sign_out(governor: Governor, person: str, token: str) -> None:
    """End a token at once."""
    with governor.act(person, SIGN_IN, f"person/{person}") as act:
        act.record("people.token.revoked", {"token": token})


def set_password(governor: Governor, person: str, keep: Callable[[], None]) -> None:
    """Record that a password was set; `keep` stores its hash, which never enters the ledger."""
    with governor.act(person, SIGN_IN, f"person/{person}") as act:
        act.record("people.password.changed", {"person": person})
    keep()


def _needs(path: str) -> str:
    return "technical" if TECHNICAL.match(path) else "policy"


def _flat(value: Any, path: str = "") -> dict[str, str]:  # noqa: ANN401  plain JSON
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= _flat(inner, f"{path}.{key}" if path else str(key))
        return flat
    if isinstance(value, list) and value and all(isinstance(i, dict) for i in value):
        flat = {}
        for index, inner in enumerate(value):
            flat |= _flat(inner, f"{path}.{_name(inner, index)}")
        return flat
    return {path: value if isinstance(value, str) else json.dumps(value, sort_keys=True)}


def _name(item: dict[str, Any], index: int) -> str:
    """Name an item of a list by what it is about, so that its place in the file does not matter."""
    if "impact" in item and "autonomy" in item:
        return f"{item['impact']}-{item['autonomy']}"
    return str(item.get("id", item.get("tier", index)))


def _list(value: Value) -> Sequence[Value]:
    return value if isinstance(value, list) else []
