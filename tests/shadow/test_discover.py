"""Discovery: what is found in sources of many languages, what is not, and how it does on real packages."""

from __future__ import annotations

import json
import os
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bedplate.cli.main import outcome
from bedplate.errors import InvalidInput
from bedplate.shadow.discover import discover

if TYPE_CHECKING:
    from bedplate.shadow.sighting import Sighting

LABELS = tomllib.loads(Path(__file__).with_name("labels.toml").read_text())
KEY = "sk-proj-" + "a1B2" * 8  # made up
STRONG = {"sdk", "endpoint", "manifest", "mcp", "key"}


def found(folder: Path, **files: str) -> list[Sighting]:
    for name, text in files.items():
        write(folder, name, text)
    return discover([folder], 1).sightings


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.py", "import openai\n", "openai"),
        ("a.py", "    from anthropic import Anthropic as A\r\n", "anthropic"),
        ("a.py", "from google import auth, genai\n", "google"),
        ("a.py", "c = boto3.client(\n  'bedrock-runtime', region_name=r)\n", "bedrock"),
        ("a.ipynb", json.dumps({"source": ["import openai\n", "x"]}), "openai"),
        ("a.ts", 'import OpenAI from "openai";\n', "openai"),
        ("a.mjs", "const { x } = await import('@anthropic-ai/sdk/core')\n", "anthropic"),
        ("A.java", "import com.openai.client.OpenAIClient;\n", "openai"),
        ("a.kt", "import dev.langchain4j.model.openai.OpenAiChatModel\n", "openai"),
        ("a.go", 'import (\n\t"github.com/openai/openai-go/option"\n)\n', "openai"),
        ("A.cs", "using Microsoft.SemanticKernel;\n", "semantic-kernel"),
        ("a.rb", "require 'openai'\n", "openai"),
        ("a.rs", "use async_openai::Client;\n", "openai"),
        ("requirements-dev.txt", "requests\nOpenAI[realtime]>=1,<3 ; python_version > '3'\n", "openai"),
        ("pyproject.toml", 'dependencies = ["pydantic-ai-slim[openai]>=1"]\n', "pydantic-ai-slim"),
        ("pyproject.toml", '[tool.poetry.dependencies]\nanthropic = "^1"\n', "anthropic"),
        ("package.json", '{"dependencies": {"@ai-sdk/mistral": "^1.0.0"}}', "mistral"),
        ("go.mod", "require (\n\tgithub.com/sashabaranov/go-openai v1.2.3\n)\n", "openai"),
        ("pom.xml", "<artifactId>langchain4j-open-ai</artifactId>", "openai"),
        ("a.csproj", '<PackageReference Include="Azure.AI.OpenAI" Version="2" />', "azure-openai"),
        ("Gemfile", "gem 'ruby-openai'\n", "openai"),
        ("Cargo.toml", '[dependencies]\nasync-openai = "0.2"\n', "openai"),
    ],
)
def test_an_sdk_is_found_in_every_language(tmp_path: Path, name: str, text: str, what: str) -> None:
    assert what in [s.what for s in found(tmp_path, **{name: text}) if s.kind == "sdk"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", '"""Use it so:\n\nimport openai\n"""\n'),
        ("a.py", "# import openai\nfrom .openai import x\nimport openai_helper\n"),
        ("a.py", "URL = 'https://chatgpt.com/share'\n# https://api.openai.com/v1\n"),
        ("README.md", "import openai\nCall https://api.openai.com with gpt-4o\n"),
        ("a.ts", '// import OpenAI from "openai"\nimport x from "./openai"\nimport y from "ai-thing"\n'),
        ("pyproject.toml", '[project]\nkeywords = ["openai", "mcp"]\n'),
        ("package-lock.json", '{"openai": "4.0.0"}'),
        ("node_modules/openai/index.js", 'import OpenAI from "openai"'),
        ("a.py", "HOST = 'api.openai.com.evil.example'\nX = 'myapi-openai.com'\n"),
    ],
)
def test_what_only_speaks_of_ai_is_not_found(tmp_path: Path, name: str, text: str) -> None:
    assert found(tmp_path, **{name: text}) == []


def test_endpoints_models_keys_agents_and_servers_are_found(tmp_path: Path) -> None:
    shown = found(
        tmp_path,
        **{
            "app.py": f"KEY = '{KEY}'\nclient = X('https://eu.api.openai.com/v1', model='gpt-4o-mini')  # patient\n",
            "conf.yaml": "model: claude-sonnet-4-5\nurl: https://bedrock-runtime.eu-west-1.amazonaws.com\n",
            "AGENTS.md": "be kind",
            ".github/copilot-instructions.md": "be brief",
            ".claude/agents/reviewer.md": "review",
            ".mcp.json": json.dumps({"mcpServers": {"jira": {}, "sql": {}}}),
            "sub/mcp.json": "[not json",
        },
    )
    assert {(s.kind, s.what) for s in shown if s.kind != "key"} == {
        ("endpoint", "eu.api.openai.com"),
        ("endpoint", "bedrock-runtime.eu-west-1.amazonaws.com"),
        ("model", "OpenAI models"),
        ("model", "Anthropic models"),
        ("manifest", "AGENTS.md"),
        ("manifest", "Copilot instructions"),
        ("manifest", "Claude Code agents"),
        ("mcp", "MCP: jira"),
        ("mcp", "MCP: sql"),
        ("mcp", "MCP: a file that cannot be read"),
    }
    (key,) = (s for s in shown if s.kind == "key")
    assert key.hints[0] == "credential: OpenAI key in app.py:1"
    assert "data: health" in key.hints
    assert KEY not in repr(shown)
    assert KEY[-4:] not in repr(key.what)
    assert "model gpt-4o-mini" in next(s for s in shown if s.what == "OpenAI models").hints


def test_repositories_are_told_apart_and_odd_files_left_out(tmp_path: Path) -> None:
    write(tmp_path, "one/.git/config", "")
    write(tmp_path, "one/a.py", "import openai\nimport openai\n")
    write(tmp_path, "two/.git/config", "")
    write(tmp_path, "two/src/b.py", "import openai\n")
    write(tmp_path, "large.py", "import openai\n" * 100)
    (tmp_path / "binary.py").write_bytes(b"import openai\n\0")
    (tmp_path / "link.py").symlink_to(tmp_path / "one" / "a.py")
    os.mkfifo(tmp_path / "pipe.py")
    seen = discover([tmp_path], 1, team="claims", max_file=500)
    assert {(s.where, s.times, s.team, s.hints) for s in seen.sightings} == {
        ("one", 2, "claims", ("at a.py:1", "at a.py:2")),
        ("two", 1, "claims", ("at src/b.py:1",)),
    }
    assert (seen.read, seen.too_large, seen.binary, seen.unreadable) == (2, 1, 1, 1)
    with pytest.raises(InvalidInput, match="is not a folder"):
        discover([tmp_path / "nowhere"], 1)


@pytest.mark.parametrize("name", sorted(LABELS["here"]))
def test_packages_of_this_environment_are_judged_as_a_reader_did(name: str) -> None:
    files = distribution(name).files or []
    tops = {Path(str(f.locate())).parents[len(f.parts) - 2] for f in files if len(f.parts) > 1 and f.parts[0] != ".."}
    folders = [top for top in tops if top.is_dir() and not top.name.endswith(".dist-info")]
    shown = discover(sorted(folders), 1).sightings
    label = LABELS["here"][name]
    assert any(s.kind in STRONG for s in shown) == label["ai"], [(s.kind, s.what, s.hints) for s in shown]
    assert set(label.get("providers", ())) <= {s.provider.lower() for s in shown}


def test_halves_of_the_labels_are_drawn_by_name_and_large_enough() -> None:
    import hashlib  # noqa: PLC0415  only here

    for half, odd in (("tune", 0), ("report", 1)):
        assert {hashlib.sha256(name.encode()).digest()[0] % 2 for name in LABELS[half]} == {odd}
    assert len(LABELS["tune"]) + len(LABELS["report"]) >= 60


def test_the_command_needs_no_server_and_sends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "a.py", "import openai\n")
    assert outcome(["discover", str(tmp_path), "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(s["kind"], s["what"], s["where"]) for s in told["sightings"]] == [("sdk", "openai", tmp_path.name)]
    assert outcome(["discover", str(tmp_path / "a.py")]) == 3
    assert outcome(["discover", str(tmp_path), "--max-kb", "0"]) == 3
    (tmp_path / "teams.csv").write_text("team,headcount\npeople,-1\n")
    assert outcome(["shadow", "headcount", str(tmp_path / "teams.csv")]) == 3  # before any server is asked
    assert "teams.csv:2: '-1' is no headcount" in capsys.readouterr().err
