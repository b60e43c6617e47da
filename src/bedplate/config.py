"""Settings: read once from the environment (`BEDPLATE_*`), then frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where Bedplate keeps its records and what it listens on."""

    model_config = SettingsConfigDict(env_prefix="BEDPLATE_", frozen=True, extra="forbid")

    data: Path = Field(default=Path("bedplate-data"), description="Folder of keys, journal shards and indexes.")
    database: str = Field(default="", description="Database URL; empty: SQLite inside the data folder.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8400, ge=0, le=65535, description="Port to listen on.")
    witness: str = Field(default="", description="Folder of a file witness, outside the data folder; empty: none.")
    upstream_url: str = Field(default="", description="OpenAI-compatible base URL; empty: the embedded answerer.")
    upstreams: str = Field(default="", description="File of several upstreams; goes in place of the URL.")
    tools: str = Field(default="", description="File of the MCP servers that agents reach through this one.")
    local_llm: bool = Field(default=False, description="Answer with the small model of the extra `local-llm`.")
    upstream_model: str = Field(default="gpt-4o-mini", description="The model a release gets that names `default`.")
    upstream_key_env: str = Field(default="", description="Name of the variable that holds the upstream's key.")
    upstream_timeout_s: int = Field(default=60, ge=1, description="Seconds to wait for the upstream's next byte.")
    seal_every_s: int = Field(default=60, ge=1, description="Seconds between two sealings of the journal.")
    tick_ms: int = Field(default=1000, ge=50, description="Milliseconds between two rounds of the worker.")
    canary_every_s: int = Field(
        default=300, ge=1, le=86_400, description="Seconds between two rounds of synthetic violations."
    )
    trial_every: int = Field(
        default=50, ge=0, description="One known-bad action for so many that wait in tiers 3 and 4; 0: none."
    )
    follow_ms: int = Field(
        default=100, ge=10, le=500, description="Milliseconds between two looks at the ledger's head."
    )
    processes: int = Field(default=1, ge=1, le=64, description="Serving processes on the one port.")
    http: Literal["fast", "safe"] = Field(
        default="fast", description="How calls are served: on uvicorn's connections, or (safe) through plain ASGI."
    )
    export_content: bool = Field(default=False, description="Export what was asked and answered with spans.")
    demo: bool = Field(default=False, description="Show one-click sign-in links, on loopback only.")

    @property
    def database_url(self) -> str:
        """The database URL in force."""
        return self.database or f"sqlite:///{(self.data / 'bedplate.db').absolute()}"
