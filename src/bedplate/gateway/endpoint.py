"""Where an upstream is, in the words of OpenTelemetry."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

PROVIDERS = (  # the host an upstream's address ends with, and the convention's name for it
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("amazonaws.com", "aws.bedrock"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("api.cohere.com", "cohere"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
)


class Endpoint(NamedTuple):
    """Where an upstream is: `gen_ai.provider.name`, `server.address` ("" within this process) and `server.port`."""

    provider: str
    address: str = ""
    port: int = 0


WITHIN = Endpoint("bedplate")


def url_of(provider: str) -> str:
    """Return where a provider of the conventions is reached; "" for one that nobody knows."""
    return next((f"https://{host}" for host, name in PROVIDERS if name == provider), "")


def endpoint(url: str, shape: str = "openai") -> Endpoint:
    """Tell what an upstream's URL says. `shape` is the protocol it speaks: it names a provider nobody knows."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host:
        return WITHIN
    named = next((name for end, name in PROVIDERS if host == end or host.endswith("." + end)), shape)
    return Endpoint(named, host, parts.port or (80 if parts.scheme == "http" else 443))
