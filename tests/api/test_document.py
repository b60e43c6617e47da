"""The OpenAPI document: valid, served with its page, and true."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from tests import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


@pytest.fixture(scope="module")
def server() -> Iterator[served.Server]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield server
    assert "Traceback" not in server.said(), server.said()


@pytest.fixture(scope="module")
def harbour(server: served.Server) -> Harbour:
    return served.harbour(server)


def test_the_document_is_openapi_3_1_and_valid(harbour: Harbour) -> None:
    status, document = harbour.api("GET", "/api/openapi.json")

    assert status == 200
    assert document["openapi"].startswith("3.1.")
    assert OPENAPI_31_VALIDATOR.is_valid(document), next(OPENAPI_31_VALIDATOR.iter_errors(document))
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            assert {"400", "401", "403", "404", "409", "413", "422", "503"} <= set(operation["responses"])


def test_the_page_loads_nothing_from_elsewhere(harbour: Harbour) -> None:
    status, headers, page = served.fetch(harbour.url, "/api/docs")

    assert status == 200
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    text = page.decode()
    assert not re.search(r"https?://|//[a-z]", text)
    for source in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert served.fetch(harbour.url, f"/api/{source}")[0] == 200, source


def run(harbour: Harbour, who: str, examples: int, phases: str) -> None:
    """Run schemathesis on everything but signing out."""
    program = [sys.executable, "-m", "schemathesis.cli", "run", f"{harbour.url}/api/openapi.json"]
    options = ["--url", f"{harbour.url}/api", "--checks", CHECKS, "--max-examples", str(examples)]
    options += ["--phases", phases]
    options += [
        "--exclude-path",
        "/logout",
        "--workers",
        "1",
        "--no-color",
        "--seed",
        "7",
        "--generation-database",
        "none",
    ]
    if who:
        options += ["-H", f"Authorization: Bearer {harbour.token(who)}"]
    ran = subprocess.run([*program, *options], capture_output=True, text=True, check=False, timeout=900)
    assert ran.returncode == 0, ran.stdout[:8000] + ran.stdout[-3000:] + ran.stderr[-2000:]


@pytest.mark.parametrize("who", ["mara", ""], ids=["signed in", "signed out"])
def test_what_is_answered_is_what_is_documented(harbour: Harbour, who: str) -> None:
    run(harbour, who, 1, "fuzzing")  # the slow one below goes through every phase


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("who", ["mara", "priya", "ruth", ""], ids=["owner", "coe", "board", "signed out"])
def test_what_is_answered_is_what_is_documented_at_length(harbour: Harbour, who: str) -> None:
    run(harbour, who, 60, "coverage,fuzzing,stateful")
    assert harbour.person("victor").post("/api/ledger/verify", {})["faults"] == []
