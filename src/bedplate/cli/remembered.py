"""What this user is signed in with, and the public keys seen: two small files in the configuration folder."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from bedplate.errors import InvalidInput

DEFAULT_URL = "http://127.0.0.1:8400"


def folder() -> Path:
    """Return the configuration folder: `$BEDPLATE_CONFIG_HOME`, or ~/.config/bedplate."""
    named = os.environ.get("BEDPLATE_CONFIG_HOME", "")
    return Path(named) if named else Path.home() / ".config" / "bedplate"


def last_url() -> str:
    """Return where the user signed in last, or the default address."""
    return str(_read("tokens.json").get("last") or DEFAULT_URL)


def token(url: str) -> str:
    """Return the token for a server: `$BEDPLATE_TOKEN`, or the one that `login` stored; "" if there is none."""
    given = os.environ.get("BEDPLATE_TOKEN", "").strip()
    return given or str(_servers("tokens.json").get(url, {}).get("token", ""))


def keep_token(url: str, person: str, text: str) -> Path:
    """Store a token so that only its owner can read it; returns the file."""
    servers = {**_servers("tokens.json"), url: {"person": person, "token": text}}
    return _write("tokens.json", {"last": url, "servers": servers})


def forget_token(url: str) -> None:
    """Remove what is stored for a server."""
    servers = {known: value for known, value in _servers("tokens.json").items() if known != url}
    _write("tokens.json", {"last": url if servers else "", "servers": servers})


def keys(url: str = "") -> list[str]:
    """Return the public keys seen at a server, or at every server."""
    servers = _servers("keys.json")
    wanted = [servers[url]] if url in servers else [] if url else list(servers.values())
    return list(dict.fromkeys(str(key) for server in wanted for key in server.get("keys", ())))


def keep_keys(url: str, found: list[str]) -> Path:
    """Store the public keys of a server; returns the file."""
    return _write("keys.json", {"servers": {**_servers("keys.json"), url: {"keys": found}}})


def _servers(name: str) -> dict[str, dict[str, Any]]:
    servers = _read(name).get("servers", {})
    if not isinstance(servers, dict) or not all(isinstance(s, dict) for s in servers.values()):
        raise _damaged(folder() / name)
    return servers


def _read(name: str) -> dict[str, Any]:
    path = folder() / name
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, OSError):
        raise _damaged(path) from None
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


def _damaged(path: Path) -> InvalidInput:
    return InvalidInput(f"{path} cannot be read", hint="remove it and sign in again: bedplate login")


def _write(name: str, content: dict[str, Any]) -> Path:
    path = folder() / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{name}.{secrets.token_hex(4)}")
    # Never readable by others, not even for the moment between creating and restricting it.
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump({"format_version": 1, **content}, file, indent=2)
    draft.replace(path)
    return path
