"""Prompts over the API: registered by releases, numbered, compared, aliased; and filled in by the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests import served
from tests.served import CLAIMS, HR

from bedplate.document import InvalidDocument
from bedplate.errors import Denied, InvalidInput, NotFound
from bedplate.sdk import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

GREETING = """\
id: greeting
variables:
  - {name: person, type: text}
messages:
  - {role: user, text: "Greet {{ person }}."}
"""


def files(greeting: str = GREETING) -> dict[str, str]:
    """Return the files of a release that carries a template."""
    before = "  system: prompts/system.md\n"
    spec = served.use_case()
    assert before in spec
    spec = spec.replace(before, before + "  templates: {greeting: prompts/greeting.yaml}\n")
    return {**served.files_of(spec), "prompts/greeting.yaml": greeting}


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    """Release 2 and 3 of the assistant carry two versions of a greeting; 3 is live."""
    with served.Server(served.fresh(), tick_ms="600000") as server:
        at = served.harbour(server)
        served.go_live(at, files(), "hanna")
        served.go_live(at, files(GREETING.replace("Greet", "Warmly greet")), "hanna")
        yield at


def test_versions_are_numbered_in_the_order_in_which_releases_carry_them(harbour: Harbour) -> None:
    listed = harbour.person("victor").prompts(HR)

    assert [(p["id"], p["number"], p["aliases"]) for p in listed] == [
        ("greeting", 2, ["live"]),
        ("greeting", 1, []),
        ("system", 1, ["live"]),
    ]
    built = {
        r["number"]: r["digest"] for r in harbour.person("victor").get(f"/api/use-cases/{HR}/releases")["releases"]
    }
    assert [p["release"] for p in listed] == [built[3], built[2], built[1]]


def test_the_same_prompts_again_are_the_same_versions(harbour: Harbour) -> None:
    """Another release with an old version registers nothing."""
    made = harbour.person("leo").release(HR, files())

    assert made["number"] == 2
    assert len(harbour.person("victor").prompts(HR)) == 3


def test_two_versions_are_compared(harbour: Harbour) -> None:
    path = f"/api/use-cases/{HR}/prompts/greeting/diff"

    shown = harbour.person("victor").get(path, before="1")["diff"]

    assert "-Greet {{ person }}.\n+Warmly greet {{ person }}.\n" in shown
    assert harbour.person("victor").get(path, before="1", after="1")["diff"] == ""


def test_the_prompt_file_is_a_version_too(harbour: Harbour) -> None:
    told = harbour.person("victor").get(f"/api/use-cases/{HR}/prompts/system")

    assert told["text"] == files()["prompts/system.md"]
    assert told["template"] is None


def test_the_sdk_fills_in_what_is_live_with_the_key_alone(harbour: Harbour) -> None:
    app = Client(harbour.url, harbour.keys[HR])

    prompt = app.prompt(HR, "greeting")
    filled = prompt.render(person="Mara <|im_start|>")

    assert filled.messages == [{"role": "user", "content": "Warmly greet Mara <\\|im_start|>."}]
    assert filled.headers == {"x-bedplate-prompt": f"greeting@{prompt.digest}"}
    assert prompt.number == 2
    with pytest.raises(InvalidInput, match="'person', and it is missing"):
        prompt.render()


def test_a_key_reads_nothing_else(harbour: Harbour) -> None:
    with pytest.raises(NotFound):
        Client(harbour.url, harbour.keys[CLAIMS]).prompt(HR, "greeting")
    with pytest.raises(NotFound):
        Client(harbour.url, harbour.keys[HR]).prompt(HR, "greeting", "1")
    with pytest.raises(NotFound):
        Client(harbour.url, harbour.keys[HR]).get(f"/api/use-cases/{HR}/prompts/system")


def test_an_alias_points_at_a_version_and_changes_nothing_that_is_live(harbour: Harbour) -> None:
    mara, before = harbour.person("mara"), harbour.person("victor").use_case(HR)["release"]

    assert mara.alias(HR, "greeting", "candidate", "1")["number"] == 1
    assert mara.prompt(HR, "greeting", "candidate").number == 1
    assert mara.prompt(HR, "greeting").number == 2
    assert mara.alias(HR, "greeting", "candidate", "live")["number"] == 2
    assert [e["data"]["alias"] for e in _aliased(harbour)] == ["candidate", "candidate"]
    assert harbour.person("victor").use_case(HR)["release"] == before
    mara.alias(HR, "greeting", "candidate", "")
    with pytest.raises(InvalidInput, match="no version 'candidate' \\(versions: live, 1, 2\\)"):
        mara.prompt(HR, "greeting", "candidate")


def test_an_alias_is_moved_by_those_who_may(harbour: Harbour) -> None:
    for nobody in ("victor", "daniel", "hanna"):
        with pytest.raises(Denied):
            harbour.person(nobody).alias(HR, "greeting", "mine", "1")
    for alias, version in (("live", "1"), ("mine", "7"), ("mine", "")):
        with pytest.raises(InvalidInput):
            harbour.person("mara").alias(HR, "greeting", alias, version)
    with pytest.raises(NotFound, match="greeting, system"):
        harbour.person("mara").alias(HR, "farewell", "mine", "1")


def test_a_template_that_is_wrong_is_not_released(harbour: Harbour) -> None:
    with pytest.raises(InvalidDocument, match=r"prompts/greeting.yaml:5:18 .*'persona' is not declared"):
        harbour.person("leo").release(HR, files(GREETING.replace("{{ person }}", "{{ persona }}")))


def _aliased(harbour: Harbour) -> list[dict[str, dict[str, str]]]:
    told = harbour.person("victor").get("/api/ledger/events", kind="models.prompt.aliased")
    return list(told["events"])
