"""Attempts to sign in: each failure makes the next wait longer, for whoever it is, and says so on record."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, text
from tests import served

from bedplate.errors import TooMany, Unauthenticated, Unavailable
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, SECOND
from bedplate.people.account import hash_password
from bedplate.people.actions import invite
from bedplate.people.attempt import FIRST_WAIT, FREE, LONGEST_WAIT, Attempts
from bedplate.people.tables import attempt, password
from bedplate.people.views import who
from bedplate.store.engine import writing
from bedplate.store.projector import upsert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import House
    from tests.served import Harbour

WORD = "correct horse battery"
PERSON = "tomas.lindgren"
HERE = "192.0.2.7"


@pytest.fixture
def attempts(house: House) -> Attempts:
    invite(house.governor, "operator", PERSON, "Tomas Lindgren")
    with writing(house.engine.connect()) as connection, connection.begin():
        upsert(connection, password, {"person": PERSON}, {"hash": hash_password(WORD)})
    return Attempts(house.engine, house.governor)


def fail(attempts: Attempts, person: str = PERSON, address: str = HERE) -> None:
    with pytest.raises(Unauthenticated, match="person and password do not match"):
        attempts.password(person, "wrong", address)


def wait(attempts: Attempts, person: str = PERSON, address: str = HERE, word: str = WORD) -> int:
    with pytest.raises(TooMany) as told:
        attempts.password(person, word, address)
    assert f"{told.value.wait_s} seconds" in told.value.message
    return told.value.wait_s


def test_each_failure_makes_the_next_wait_longer_until_one_succeeds(house: House, attempts: Attempts) -> None:
    for _ in range(FREE["account"] - 1):
        fail(attempts)
    attempts.password(PERSON, WORD, HERE)
    waits = []
    for _ in range(FREE["account"] + 10):
        house.clock.advance(LONGEST_WAIT)
        fail(attempts)
        until = attempts.waits(PERSON)
        waits.append(until - house.clock() if until else 0)
    assert waits[: FREE["account"] + 2] == [0, 0, 0, 0, FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT]
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT
    assert wait(attempts) == LONGEST_WAIT // SECOND, "not even the right one, while it waits"
    house.clock.advance(LONGEST_WAIT - 1)
    assert wait(attempts) == 1, "what is refused does not make it longer"
    house.clock.advance(1)
    attempts.password(PERSON, WORD, HERE)
    assert attempts.waits(PERSON) == 0
    fail(attempts)
    attempts.password(PERSON, WORD, HERE)


def test_a_name_that_nobody_has_is_answered_alike(attempts: Attempts) -> None:
    told: list[list[tuple[type, str, str]]] = []
    for person in (PERSON, "no.such.person", "", "x" * 4_000):
        answers = []
        for _ in range(FREE["account"] + 2):
            try:
                attempts.password(person, "wrong", f"192.0.2.{len(told)}")
            except (Unauthenticated, TooMany) as error:
                answers.append((type(error), error.message, error.hint))
        told.append(answers)
    assert all(answers == told[0] for answers in told)
    assert [kind for kind, *_ in told[0]] == [Unauthenticated] * FREE["account"] + [TooMany] * 2


def test_an_unknown_name_takes_as_long_as_a_known_one(attempts: Attempts) -> None:
    def took(person: str, address: str) -> float:
        began = time.process_time()  # what hashing costs: a busy machine makes it no longer
        fail(attempts, person, address)
        return time.process_time() - began

    names = (PERSON, "no.such.person")
    rounds = [[took(person, f"198.51.100.{n}") for person in names] for n in range(FREE["account"])]
    known, unknown = (min(times) for times in zip(*rounds[1:], strict=True))  # the first makes the decoy
    assert 1 / 2 < known / unknown < 2


def test_an_address_that_tries_many_names_waits_and_others_do_not(house: House, attempts: Attempts) -> None:
    for n in range(FREE["address"]):
        fail(attempts, f"person.{n}")
    assert wait(attempts) == FIRST_WAIT // SECOND
    attempts.password(PERSON, WORD, "192.0.2.8")
    with pytest.raises(TooMany), attempts.counted(HERE):  # with a code as well
        pytest.fail("nothing is checked")
    house.clock.advance(FIRST_WAIT)
    attempts.password(PERSON, WORD, HERE)
    house.clock.advance(SECOND)
    fail(attempts, "person.x")
    assert wait(attempts) == 2 * FIRST_WAIT // SECOND, "one that succeeds takes back its own attempt only"


def test_whoever_is_locked_out_still_gets_in_with_an_invitation(house: House, attempts: Attempts) -> None:
    code = invite(house.governor, "operator", PERSON, "Tomas Lindgren", known=True).text
    for n in range(FREE["account"]):
        fail(attempts, address=f"198.51.100.{n}")
    wait(attempts)
    with attempts.counted(HERE):
        assert who(house.engine, code, house.clock(), "invitation").person == PERSON
    for n in range(FREE["address"]):
        with pytest.raises(Unauthenticated), attempts.counted(HERE):
            who(house.engine, f"bpi_{n:012x}_" + "a" * 43, house.clock(), "invitation")
    with pytest.raises(TooMany), attempts.counted(HERE):
        pytest.fail("nothing is checked")


def test_what_is_limited_is_on_record_and_names_no_address(house: House, attempts: Attempts) -> None:
    before = house.ledger.size()
    for _ in range(FREE["account"] - 1):
        fail(attempts)
        fail(attempts, "no.such.person", "192.0.2.9")
    assert house.ledger.size() == before, "not each of them: that could be used to fill the ledger"
    fail(attempts)
    fail(attempts, "no.such.person", "192.0.2.9")
    found = [(e.actor, e.stream, e.data) for e in house.events("people.signin.limited")]
    until = house.clock() + FIRST_WAIT
    limited = {"of": "account", "failures": FREE["account"], "until": until}
    assert found == [
        (SYSTEM, f"person/{PERSON}", {**limited, "name": PERSON}),
        (SYSTEM, "sign-in", {**limited, "name": ""}),
    ]
    for n in range(FREE["address"]):
        fail(attempts, f"person.{n}", "192.0.2.10")
    assert house.events("people.signin.limited")[-1].data["of"] == "address"
    assert b"192.0.2" not in b"".join(e.entry for e in house.events())
    house.sound()


def test_attempts_made_side_by_side_all_count(attempts: Attempts) -> None:
    def one(_: int) -> type[Exception]:
        try:
            attempts.password(PERSON, "wrong", HERE)
        except (Unauthenticated, TooMany) as error:
            return type(error)
        raise AssertionError

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(24)))
    assert answers.count(Unauthenticated) == FREE["account"]


def test_it_is_forgotten_after_a_day_and_known_to_other_processes(house: House, attempts: Attempts) -> None:
    for _ in range(FREE["account"]):
        fail(attempts)
    assert wait(Attempts(house.engine, house.governor)) == FIRST_WAIT // SECOND
    house.clock.advance(DAY + 1)
    fail(attempts, "somebody.else", "192.0.2.9")
    with house.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(attempt)).scalar_one() == 2, "the old ones are gone"
    for _ in range(FREE["account"] - 1):
        fail(attempts)
    attempts.password(PERSON, WORD, HERE)


def test_what_cannot_be_counted_is_not_tried(house: House, attempts: Attempts) -> None:
    with writing(house.engine.connect()) as connection, connection.begin():
        connection.execute(text("DROP TABLE sign_in_attempt"))
    with pytest.raises(Unavailable, match="cannot be counted"):
        attempts.password(PERSON, WORD, HERE)


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield served.harbour(server)


def test_over_the_api_and_on_the_page_it_is_429_and_says_how_long(harbour: Harbour) -> None:
    harbour.person("tomas").post("/api/me/password", {"password": WORD})
    login = {"person": PERSON, "password": "wrong"}
    answers = [harbour.api("POST", "/api/login", login)[0] for _ in range(FREE["account"] + 1)]
    assert answers == [401] * FREE["account"] + [429]
    body = json.dumps({"person": PERSON, "password": WORD}).encode()
    head = {"content-type": "application/json"}
    status, headers, told = served.fetch(harbour.url, "/api/login", "POST", body, head)
    assert status == 429
    assert 0 < int(headers["retry-after"]) <= FIRST_WAIT // SECOND
    assert json.loads(told)["error"]["code"] == "too-many"
    form = f"person={PERSON}&password=wrong".encode()
    head = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}
    status, _, page = served.fetch(harbour.url, "/sign-in", "POST", form, head)
    assert status == 429
    assert b"try again in" in page
    assert harbour.person("tomas").get("/api/me")["locked_until"] > 0, "who is signed in is told, and stays signed in"
    assert harbour.person("mara").get("/api/me")["locked_until"] == 0
