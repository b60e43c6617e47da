"""What Bedplate is compared with, each in an environment of its own outside the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BARE = ("aiohttp==3.14.5", "httptools==0.9.0", "uvicorn==0.54.0", "uvloop==0.23.0")
LITELLM = ("litellm[proxy]==1.106.2",)
MASTER_KEY = "sk-bench"
FILTER = "personal-data"  # LiteLLM's own filter of patterns, asked for in the body of a call
CONFIG = """model_list:
  - model_name: default
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{upstream}", api_key: none}}
general_settings: {{master_key: {key}}}
guardrails:
  - guardrail_name: {filter}
    litellm_params:
      guardrail: litellm_content_filter
      mode: pre_call
      patterns:
        - {{pattern_type: prebuilt, pattern_name: email, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: credit_card, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: us_ssn, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: us_phone, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: ipv4, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: aws_access_key, action: MASK}}
        - {{pattern_type: prebuilt, pattern_name: github_token, action: MASK}}
"""
QUIET = {  # nothing that reaches for the network
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION",
    "NO_DOCS": "True",
}


def environment(packages: tuple[str, ...]) -> Path:
    """Return the programs of an environment with these packages, made once; `OSError` says why there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bedplate-bench"
    name = packages[0].partition("=")[0].partition("[")[0]
    form = hashlib.sha256(" ".join((sys.version, *packages)).encode()).hexdigest()[:8]
    place = cache / f"{name}-{form}"
    if (place / ".ready").exists():
        return place / "bin"
    print(f"installing {' '.join(packages)} into {place}", file=sys.stderr)
    uv = Path(sys.executable).with_name("uv")
    program = str(uv) if uv.exists() else shutil.which("uv")
    if program is None:
        raise OSError("uv is not there: make setup")
    python = str(place / "bin" / "python")
    for command in (
        [program, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)],
        [program, "pip", "install", "--quiet", "--python", python, *packages],
    ):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["no reason was given"]
            raise OSError(f"{' '.join(packages)} cannot be installed: {said[-1]}")
    (place / ".ready").touch()
    return place / "bin"


def litellm_config(folder: Path, upstream: str) -> Path:
    """Write LiteLLM's configuration: one model, the master key, and a filter that a call may ask for."""
    path = folder / "litellm.yaml"
    path.write_text(CONFIG.format(upstream=upstream, key=MASTER_KEY, filter=FILTER))
    return path
