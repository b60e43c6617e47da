"""The examples for other enforcement points: LiteLLM's hook asked for real, and what Envoy's file must say."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import HTTPException
from ruamel.yaml import YAML
from tests.gateway.test_door import SECRET, Gateway

from bedplate.api.access import EXT_AUTHZ, Access
from bedplate.gateway.call import MAX_BODY
from bedplate.gateway.session import DRAFT
from bedplate.kernel.standing import Rung

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

EXAMPLES = Path(__file__).parents[2] / "examples" / "enforcement"
CARD = "4111 1111 1111 1111"


@dataclass
class House:
    """A gateway whose verdict is asked for over HTTP, and LiteLLM's hook that asks for it."""

    gateway: Gateway
    hook: Any
    key: Any = field(default_factory=lambda: SimpleNamespace(key_alias=None, user_id=None))

    def asks(self, call_type: str = "acompletion", **more: Any) -> dict[str, Any]:
        """Make one call as LiteLLM's proxy does; returns what would go on."""
        self.gateway.follower.look()
        data = {
            "model": "default",
            "messages": [{"role": "user", "content": "hi"}],
            "litellm_call_id": object(),
            **more,
        }
        return dict(asyncio.run(self.hook.async_pre_call_hook(self.key, None, data, call_type)))

    def refused(self, **more: Any) -> tuple[int, list[str]]:
        with pytest.raises(HTTPException) as refused:
            self.asks(**more)
        told: Any = refused.value.detail
        return refused.value.status_code, [reason["control"] for reason in told["error"]["reasons"]]


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    gateway = Gateway(tier=3)
    server = uvicorn.Server(uvicorn.Config(Access(gateway.door), port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("BEDPLATE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("BEDPLATE_KEY", "good")
    for name in ("litellm", "litellm.integrations", "litellm.integrations.custom_logger"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    # All that the hook takes of LiteLLM is the class that it derives from.
    monkeypatch.setattr(sys.modules["litellm.integrations.custom_logger"], "CustomLogger", object, raising=False)
    spec = importlib.util.spec_from_file_location("litellm_hook", EXAMPLES / "litellm_hook.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield House(gateway, module.bedplate)
    server.should_exit = True
    thread.join()


def test_what_may_be_called_goes_on_as_it_is(house: House) -> None:
    told = house.asks(temperature=0.5)

    assert (told["model"], told["temperature"], told["messages"][0]["content"]) == ("default", 0.5, "hi")
    assert house.gateway.records.entries == []


def test_what_may_not_be_called_is_refused_with_reasons_and_on_record(house: House) -> None:
    assert house.refused(model="gpt-5") == (403, ["model-approved"])
    assert house.refused(messages=[{"role": "user", "content": SECRET}]) == (403, ["guardrail-input"])
    assert house.gateway.records.kinds == ["call.refused", "call.refused"]


def test_what_is_taken_out_does_not_go_on(house: House) -> None:
    told = house.asks(messages=[{"role": "user", "content": f"pay with {CARD}"}])

    assert told["messages"][0]["content"] == "pay with [redacted: payment card]"


@pytest.mark.parametrize("call_type", ["image_generation", "arealtime", "pass_through_endpoint"])
def test_what_bedplate_cannot_judge_is_not_called(house: House, call_type: str) -> None:
    assert house.refused(call_type=call_type)[0] == 403


def test_without_an_answer_nothing_is_called(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDPLATE_URL", "http://127.0.0.1:1")
    assert house.refused()[0] == 503


def test_each_of_litellms_keys_may_be_another_use_case(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.key.key_alias = "claims-bot"
    monkeypatch.setenv("BEDPLATE_KEY_CLAIMS_BOT", "nobody's")
    assert house.refused()[0] == 401


def test_drafts_are_marked_whole_and_streamed(house: House) -> None:
    standing = next(iter(house.gateway.snapshot.standings.values()))
    object.__setattr__(standing, "rung", Rung.PROPOSE)
    data = house.asks()

    def choice(**of: str) -> Any:
        part = SimpleNamespace(content=of["content"])
        return SimpleNamespace(index=0, message=part, delta=part)

    async def stream() -> AsyncIterator[Any]:
        for word in ("", "twenty", "-six"):
            yield SimpleNamespace(choices=[choice(content=word)])

    async def said() -> tuple[str, list[str]]:
        whole = SimpleNamespace(choices=[choice(content="twenty-six")])
        whole = await house.hook.async_post_call_success_hook(data, house.key, whole)
        pieces = house.hook.async_post_call_streaming_iterator_hook(house.key, stream(), data)
        return whole.choices[0].message.content, [p.choices[0].delta.content async for p in pieces]

    assert asyncio.run(said()) == (f"{DRAFT}twenty-six", ["", f"{DRAFT}twenty", "-six"])
    assert house.refused(call_type="aresponses", input="hi", messages=None)[1] == ["rung-open"]


def test_envoy_shows_the_whole_body_and_lets_nothing_on_that_was_not_judged() -> None:
    file = YAML(typ="safe").load((EXAMPLES / "envoy" / "envoy.yaml").read_text())
    (listener,) = file["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    first = manager["http_filters"][0]
    asked = first["typed_config"]

    assert first["name"] == "envoy.filters.http.ext_authz"
    assert asked["http_service"]["path_prefix"] == EXT_AUTHZ
    assert asked["failure_mode_allow"] is False
    assert asked["with_request_body"] == {"max_request_bytes": MAX_BODY, "allow_partial_message": False}
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert "x-api-key" in route["request_headers_to_remove"], "a use case's key does not go to the provider"
    assert route["request_headers_to_add"][0]["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
