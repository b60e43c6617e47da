"""`upstreams.yaml`, keys by reference and their rotation, and what an upstream is asked with."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.config import Settings
from bedplate.document import InvalidDocument, parse
from bedplate.errors import InvalidInput, NotFound
from bedplate.gateway.credential import LOOK_EVERY, Credential
from bedplate.gateway.supplier import SPOKEN
from bedplate.gateway.supply import Supply, open_supply
from bedplate.gateway.supplyfile import suppliers_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.gateway.supplier import Supplier

ROOT = Path(__file__).parents[2]
SECRET = "sk-do-not-show"
ENVIRONMENT = {"KEY": SECRET}
START = 10**12


def read(text: str, environment: Mapping[str, str] = ENVIRONMENT) -> list[Supplier]:
    return suppliers_of(parse(f"kind: upstreams\nupstreams:\n{text}", "upstreams.yaml"), environment)[0]


def one(**keys: Any) -> Supplier:
    said = {"name": "one", "url": "https://one.example/v1", "shape": "openai", "key": "{env: KEY}", **keys}
    [found] = read("  - {" + ", ".join(f"{k}: {v}" for k, v in said.items()) + "}")
    return found


def refusal(**keys: Any) -> str:
    with pytest.raises(InvalidDocument) as wrong:
        one(**keys)
    assert all(c.line >= 3 for c in wrong.value.complaints)
    return str(wrong.value)


@pytest.mark.parametrize(
    ("keys", "dialect", "target"),
    [
        ({}, "chat", "/v1/chat/completions"),
        ({}, "responses", "/v1/responses"),
        ({"protocols": "[messages]"}, "messages", "/v1/messages"),
        ({"url": "https://one.example"}, "embeddings", "/embeddings"),
        ({"shape": "anthropic", "url": "https://api.anthropic.com"}, "messages", "/v1/messages"),
        ({"shape": "anthropic", "url": "https://x.example/anthropic/v1/"}, "messages", "/anthropic/v1/messages"),
        ({"shape": "azure", "url": "https://r.openai.azure.com"}, "chat", "/openai/v1/chat/completions"),
        (
            {"shape": "azure", "url": "https://r.openai.azure.com", "api_version": "2024-10-21"},
            "chat",
            "/openai/deployments/gpt%2F4o%20x/chat/completions?api-version=2024-10-21",
        ),
        (
            {"shape": "azure", "url": "https://r.openai.azure.com", "api_version": "2025-03-01-preview"},
            "responses",
            "/openai/responses?api-version=2025-03-01-preview",
        ),
    ],
)
def test_each_shape_is_asked_where_it_answers(keys: dict[str, str], dialect: Any, target: str) -> None:
    assert one(**keys).request_target(dialect, "gpt/4o x") == target


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("openai", {b"authorization": b"Bearer " + SECRET.encode()}),
        ("azure", {b"api-key": SECRET.encode()}),
        ("anthropic", {b"x-api-key": SECRET.encode(), b"anthropic-version": b"2023-06-01"}),
    ],
)
def test_each_shape_is_shown_the_key_in_its_way(shape: str, expected: dict[bytes, bytes]) -> None:
    found = one(shape=shape, url="https://one.example")
    assert dict(found.headers(START)) == expected
    assert found.headers(START) is found.headers(START + 1), "made once"


def test_headers_of_the_file_go_along() -> None:
    found = one(shape="anthropic", headers='{Anthropic-Version: "2024-01-01", X-Team: people}')
    said = found.headers(START)
    assert (b"anthropic-version", b"2024-01-01") in said
    assert (b"x-team", b"people") in said
    assert len(said) == 3


def test_without_a_key_none_is_sent() -> None:
    [found] = read("  - {name: one, url: 'http://localhost:8000/v1', shape: openai}")
    assert found.headers(START) == []


@pytest.mark.parametrize(
    "key",
    [
        SECRET,
        f"{{value: {SECRET}}}",
        f"{{env: {SECRET}}}",
        f"[{SECRET}]",
        "12345678",
        "{file: relative/key}",
        "{}",
        "{env: KEY, file: /etc/hosts}",
    ],
)
def test_a_key_in_the_file_is_refused_and_not_repeated(key: str) -> None:
    said = refusal(key=key)
    assert "a key is never written here" in said
    assert SECRET not in said
    assert "12345678" not in said


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "api-key", "Cookie", "X-Auth-Token"])
@pytest.mark.parametrize("value", [SECRET, "12345678"])
def test_a_key_among_the_headers_is_refused_and_not_repeated(name: str, value: str) -> None:
    said = refusal(headers=f"{{{name}: {value}}}")
    assert "would hold a secret" in said
    assert value not in said


@pytest.mark.parametrize(
    "headers",
    ["{Host: x}", "{Content-Length: x}", "{Transfer-Encoding: x}", '{"a b": x}', '{X-A: "a\\r\\nb: c"}', "[x]"],
)
def test_headers_that_would_change_the_request_are_refused(headers: str) -> None:
    assert "headers" in refusal(headers=headers)


def test_a_key_in_a_url_is_refused_and_not_repeated() -> None:
    said = refusal(url=f"'https://user:{SECRET}@one.example/v1'")
    assert "no name or password" in said
    assert SECRET not in said


def test_a_variable_that_is_not_set_stops_the_start() -> None:
    assert "the variable NOBODY is not set" in refusal(key="{env: NOBODY}")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"name": "One"}, "small letters"),
        ({"name": "embedded"}, "means something else"),
        ({"name": "default"}, None),
        ({"shape": "cohere"}, "'openai', 'anthropic' or 'azure'"),
        ({"shape": "anthropic", "protocols": "[chat]"}, "does not speak chat; it speaks: messages"),
        ({"protocols": "[]"}, "at least 1"),
        ({"retries": 3}, "unknown key"),
        ({"retry": "{attempts: 4}"}, "less than or equal to 3"),
        ({"retry": "{base_ms: 900, most_ms: 100}"}, "more than most_ms"),
        ({"breaker": "{half_open: 0}"}, "greater than or equal to 1"),
        ({"breaker": "{windows: 1}"}, "half_open, open_s, percent, window_s"),
        ({"timeouts": "{connect_ms: 0}"}, "greater than or equal to 1"),
        ({"max_concurrent": "yes"}, "valid integer"),
        ({"tls": "{ca_file: /does/not/exist.pem}"}, "no such file"),
        ({"api_version": "2024-10-21"}, "only Azure"),
        ({"shape": "azure", "url": "https://r.openai.azure.com/openai/v1"}, "only the resource's address"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(keys: dict[str, str], says: str | None) -> None:
    if says is None:
        assert one(**keys).name == "default"
    else:
        assert says in refusal(**keys)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "https://169.254.170.2/v1",
        "https://[fe80::1]/v1",
        "https://[fd00:ec2::254]/v1",
        "https://[::ffff:169.254.169.254]/v1",
        "https://[64:ff9b::a9fe:a9fe]/v1",
        "https://[2002:a9fe:a9fe::1]/v1",
        "https://metadata.google.internal/v1",
        "https://METADATA.google.internal./v1",
        "https://168.63.129.16/v1",
        "https://100.100.100.200/v1",
        "https://2852039166/v1",
        "https://0xa9fea9fe/v1",
        "https://169.254.43518/v1",
        "https://0251.0376.0251.0376/v1",
        "https://0.0.0.0/v1",
        "https://224.0.0.1/v1",
        "http://one.example/v1",
        "http://10.0.0.7/v1",
        "ftp://one.example",
        "one.example/v1",
        "https://",
        "https://one.example/v1?x=1",
        "https://one.example/v1#x",
        "https://one.example/../v1",
        "https://one.example:99999/v1",
        "https://one.example/v 1",
        "https://öne.example/v1",
    ],
)
def test_an_address_that_leads_astray_is_refused(url: str) -> None:
    assert "url" in refusal(url=f"'{url}'")


@pytest.mark.parametrize(
    "url",
    [
        "https://one.example",
        "https://10.0.0.7/v1",
        "http://localhost:8000/v1",
        "http://127.0.0.1:1/v1",
        "http://[::1]/v1",
        "https://[2001:db8::7]:8443/v1",
        "https://my_service:8443/v1",
    ],
)
def test_other_addresses_are_taken(url: str) -> None:
    assert one(url=f"'{url}'").address == url


def test_what_a_name_resolves_to_is_checked_again() -> None:
    assert "link-local" in one().refuses("169.254.169.254")
    assert one().refuses("203.0.113.7") == ""
    assert one(insecure="yes").refuses("169.254.169.254") == ""


@pytest.mark.parametrize("url", ["http://one.example/v1", "http://169.254.169.254/v1"])
def test_who_means_it_may_say_so(url: str) -> None:
    assert one(url=f"'{url}'", insecure="yes").url == url


def test_the_site_is_what_a_client_connects_to() -> None:
    at = one(url="'https://[2001:db8::7]:8443/a/v1/'").site
    assert (at.host, at.port, at.tls, at.authority, at.path) == (
        "2001:db8::7", 8443, True, "[2001:db8::7]:8443", "/a/v1",
    )  # fmt: skip
    assert one(url="'http://localhost:80/v1'").site.authority == "localhost"


TWICE = "  - {name: one, url: 'https://x.example/v1', shape: openai}\n"


def test_two_at_one_address_are_two_accounts_or_a_mistake() -> None:
    with pytest.raises(InvalidDocument, match="the address of 'one' too"):
        read(TWICE + TWICE.replace("one", "two"))
    with pytest.raises(InvalidDocument, match="'one' is there twice"):
        read(TWICE + TWICE)
    supply = Supply(read(TWICE + TWICE.replace("one", "two").replace("shape", "account: claims, shape")))
    assert [s.address for s in supply] == ["https://x.example/v1", "https://x.example/v1#claims"]
    found = supply.at("https://x.example/v1#claims")
    assert found is not None
    assert (found.name, found.url) == ("two", "https://x.example/v1")


def test_one_is_found_by_name_and_by_the_address_that_releases_hold() -> None:
    supply = Supply([one()], default="one")
    assert supply.of("one") is supply.of("default") is supply.at("https://one.example/v1")
    assert supply.at("https://one.example/v1/") is supply.of("one"), "as older releases may hold it"
    assert "https://one.example/v1" in supply
    assert "https://one.example" not in supply
    with pytest.raises(NotFound, match="known here: default, one"):
        supply.of("two")


def test_a_default_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidDocument, match=r"no upstream 'two'; known: one"):
        suppliers_of(parse(f"kind: upstreams\ndefault: two\nupstreams:\n{TWICE}", "u.yaml"), {})


# keys


def test_a_key_file_that_is_rotated_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("first\n")
    found = one(key=f"{{file: {path}}}")
    assert dict(found.headers(START))[b"authorization"] == b"Bearer first"

    path.with_suffix(".new").write_text("second-key\n")
    path.with_suffix(".new").replace(path)
    assert dict(found.headers(START + LOOK_EVERY - 1))[b"authorization"] == b"Bearer first", "looked at once a second"
    assert dict(found.headers(START + LOOK_EVERY))[b"authorization"] == b"Bearer second-key"


def test_a_key_rotated_by_swapping_a_link_is_read_again(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name * 2)
        os.utime(tmp_path / name, (1, 1))
    link = tmp_path / "key"
    link.symlink_to("old")
    found = Credential.of_file(link)
    assert found.secret(START) == b"oldold"
    link.unlink()
    link.symlink_to("new")
    assert found.secret(START + LOOK_EVERY) == b"newnew"


@pytest.mark.parametrize("what", ["gone", "empty", "two lines"])
def test_a_rotation_that_fails_keeps_the_old_key_and_says_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "key"
    path.write_text(SECRET)
    found = Credential.of_file(path)
    if what == "gone":
        path.unlink()
    else:
        path.write_text("" if what == "empty" else f"{SECRET}\r\nx-evil: {SECRET}")

    assert found.secret(START) == SECRET.encode()
    assert "key" in found.trouble
    assert SECRET not in found.trouble
    path.write_text("whole-again")
    assert found.secret(START + LOOK_EVERY) == b"whole-again"
    assert found.trouble == ""


@pytest.mark.parametrize("content", [b"", b"  \n", b"a b", b"a\nb", b"\xff", b"x" * 20_000])
def test_what_cannot_be_a_key_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="the key file"):
        Credential.of_file(path)


def test_no_key_is_in_what_is_shown() -> None:
    supply = Supply([one()])
    supply.of("one").headers(START)
    shown = repr((supply.of("one"), supply.of("one").key, supply.view(START)))
    assert SECRET not in shown
    assert "env KEY" in shown


# the settings


def settings(**changed: Any) -> Settings:
    return Settings(data=Path("unused"), **changed)


def test_without_settings_the_embedded_one_answers() -> None:
    supply = open_supply(settings())
    assert [s.name for s in supply] == ["embedded"]
    assert list(supply.offered()) == ["embedded"]
    assert "embedded" in supply


def test_a_single_url_is_the_default_at_the_address_releases_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM", SECRET)
    url = "http://llm.internal:8000/v1/"
    supply = open_supply(settings(upstream_url=url, upstream_key_env="UPSTREAM", upstream_timeout_s=7))
    found = supply.of("default")
    assert (found.address, found.model, found.retry.attempts) == (url, "gpt-4o-mini", 0)
    assert supply.at(url) is found
    assert found.request_target("chat", "m") == "/v1/chat/completions"
    assert dict(found.headers(START)) == {b"authorization": b"Bearer " + SECRET.encode()}
    assert (found.timeouts.connect_ms, found.timeouts.first_byte_ms, found.timeouts.idle_ms) == (7000, 7000, 7000)


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "ftp://x", f"https://u:{SECRET}@x.example"])
def test_a_single_url_that_leads_astray_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="BEDPLATE_UPSTREAM_URL") as wrong:
        open_supply(settings(upstream_url=url))
    assert SECRET not in str(wrong.value)


def test_the_local_model_goes_before_the_url_and_keeps_its_address() -> None:
    supply = open_supply(settings(upstream_url="https://x.example/v1"), local_url="http://127.0.0.1:41/v1")
    assert supply.of("default").address == "local"
    assert supply.of("default").site.port == 41


def test_a_file_and_a_url_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="both BEDPLATE_UPSTREAMS"):
        open_supply(settings(upstreams=str(tmp_path / "u.yaml"), upstream_url="https://x.example/v1"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"u\.yaml cannot be read"):
        open_supply(settings(upstreams=str(tmp_path / "u.yaml")))


def test_the_example_is_good_and_says_who_is_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_API_KEY_CLAIMS", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, name)
    supply = open_supply(settings(upstreams=str(ROOT / "examples" / "upstreams.yaml")))
    assert supply.of("default").name == "openai"
    assert {"embedded", "openai", "openai-claims", "anthropic", "own-gpu", "default"} == set(supply.offered())


def test_every_preset_is_good_and_on_the_page_with_its_source() -> None:
    text = resources.files("bedplate.gateway").joinpath("presets.yaml").read_text()
    page = (ROOT / "docs" / "upstreams.md").read_text()
    keys = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK")
    found, _ = suppliers_of(parse(text, "presets.yaml"), dict.fromkeys(keys, "x"))
    assert len(found) == 8
    for preset in found:
        assert f"`{preset.name}`" in page
        assert preset.url in page
        assert preset.protocols <= SPOKEN[preset.shape]
    sources = [word.rstrip(";,") for line in text.splitlines() if line.startswith("  # ") for word in line.split()]
    assert [s for s in sources if s.startswith("https://") and s not in page] == []


def test_what_goes_on_is_shown_without_credentials() -> None:
    supply = Supply([one(description="ours")])
    traffic = supply.traffic("https://one.example/v1")
    assert traffic is not None
    for millis in range(1, 201):
        traffic.first_byte(millis * 1000)
    [view] = supply.view(START)
    assert (view.name, view.url, view.key, view.description) == ("one", "https://one.example/v1", "env KEY", "ours")
    assert (view.first_byte_p50_ms, view.first_byte_p95_ms) == (150, 195), "of the latest hundred"
    assert view.breaker.state == "closed"
