"""The SDK: every refusal is one of our errors, with its reasons and fix."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from tests import served
from tests.served import CLAIMS, HR

from bedplate import errors
from bedplate.sdk import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield served.harbour(server)


def test_what_it_reads(harbour: Harbour) -> None:
    mara = harbour.person("mara")
    harbour.call(served.ask())

    assert mara.me()["person"] == "mara.quinn"
    assert {u["id"] if "id" in u else u["subject"] for u in mara.use_cases()}
    assert mara.use_case(HR)["stage"] == "live"
    assert mara.gate(HR)["state"]
    assert mara.incidents() == []
    assert mara.approvals("any")
    assert mara.approval(mara.approvals("any")[0]["id"])["state"] == "spent"
    [call] = mara.calls(use_case=HR, limit=1)
    assert mara.call(call["id"])["id"] == call["id"]
    assert mara.prove(call["id"]).startswith("bedplate.dev/proof@v1\n")
    assert mara.public_keys().startswith("bedplate.local/")
    assert mara.plan("use-case", "use-case.yaml", served.use_case("x-new"))["new"] is True
    harbour.approve(lambda: mara.publish_path(HR), "jonas", "hanna")
    made = mara.start_from(HR, "sibling", "A sibling", {"purpose": "Answers something else."})
    assert made["files"]["use-case.yaml"]


def test_what_it_raises(harbour: Harbour) -> None:
    mara, leo = harbour.person("mara"), harbour.person("leo")
    with pytest.raises(errors.Unauthenticated):
        Client(harbour.url).me()
    with pytest.raises(errors.Unauthenticated):
        Client(harbour.url).login(code="bpi_000000000000_" + "a" * 43)
    with pytest.raises(errors.NotFound):
        mara.use_case("none-such")
    with pytest.raises(errors.InvalidInput):
        mara.suspend(HR, "")
    with pytest.raises(errors.InvalidInput, match=r"use-case\.yaml:1:1"):
        leo.apply("use-case", "use-case.yaml", "kind: use-case\n")
    with pytest.raises(errors.NeedsApproval) as asked:
        leo.apply("use-case", "use-case.yaml", served.use_case("y-new"))
    assert asked.value.approval.startswith("approval/")
    with pytest.raises(errors.Denied) as denied:
        harbour.person("victor").suspend(HR, "why not")
    assert denied.value.controls == ("authority",)
    assert all(fix for _, _, fix in denied.value.reasons)
    with pytest.raises(errors.Denied):
        leo.vote(asked.value.approval, "yes")
    assert harbour.agree(asked.value.approval, "hanna") == "spent"
    with pytest.raises(errors.Conflict):
        harbour.agree(asked.value.approval, "hanna")


def test_a_gate_that_says_no_is_an_answer(harbour: Harbour) -> None:
    spec = served.use_case("rights-too", affects_rights="yes")
    served.accept(harbour, harbour.person("leo"), spec, "jonas", "ruth")

    made = harbour.person("leo").release("rights-too", served.files_of(spec))

    assert made["state"] == "denied"
    assert {line["control"] for line in made["gate"] if line["state"] != "proven"} == {"fairness-assessed"}
    assert made["attack"]["passed"] == made["attack"]["total"] >= 60, "the red team was withstood"
    assert all(line["fix"] for line in made["gate"] if line["state"] != "proven")


def test_names_are_quoted(harbour: Harbour) -> None:
    for name in ("../../me", "a b", "a?b=c", "a#b", "ü", CLAIMS + "/keys/.."):
        with pytest.raises(errors.BedplateError):
            harbour.person("mara").use_case(name)


class Odd(BaseHTTPRequestHandler):
    """Answers what the path says."""

    def do_GET(self) -> None:
        status, _, body = self.path.removeprefix("/").partition("/")
        self.send_response(int(status))
        content = unquote(body).encode()
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: Any) -> None:
        pass


def test_an_answer_that_is_not_ours_is_told_apart() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        client = Client(f"http://127.0.0.1:{server.server_port}")
        for path, kind in {
            "/200/hello": errors.Unreachable,
            "/502/<html>": errors.Unreachable,
            "/500/{}": errors.BedplateError,
            "/503/{}": errors.Unavailable,
            "/418/{}": errors.BedplateError,
            '/403/{"error":{}}': errors.Denied,
            '/403/{"error":5}': errors.Denied,
        }.items():
            with pytest.raises(kind):
                client.get(path)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_is_down_is_unreachable() -> None:
    with pytest.raises(errors.Unreachable, match="does not answer"):
        Client(f"http://127.0.0.1:{served.free_port()}").me()


def test_it_knows_only_the_wire() -> None:
    program = "import bedplate.sdk, sys, json; print(json.dumps(sorted(m for m in sys.modules if 'bedplate' in m)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)

    assert not {"bedplate.kernel", "bedplate.store", "bedplate.bootstrap", "bedplate.api"} & set(loaded)
