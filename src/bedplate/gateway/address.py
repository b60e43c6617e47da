"""Where calls may be sent: base URLs that hide nothing, and never to what gives away a host's own credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

# Instance metadata of the clouds: whoever may ask it gets the host's credentials. Sources: the providers' own pages on
# instance metadata (AWS 169.254.169.254, fd00:ec2::254, containers 169.254.170.2, fd00:ec2::23; Google
# metadata.google.internal, fd20:ce::254; Azure 168.63.129.16; Alibaba 100.100.100.200; Oracle 192.0.0.192).
_METADATA = frozenset(
    map(
        ip_address, ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192")
    )
)
_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9])?")
_NUMBERS = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}")  # 2130706433, 0x7f.1: resolvers take them
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Site:
    """Where to connect. `authority` is what the Host header says; `path` goes before targets: `/v1`, or nothing."""

    host: str
    port: int
    tls: bool
    authority: str
    path: str


def site(url: str, *, insecure: bool = False) -> Site:
    """Read a base URL; `ValueError` says what is wrong with it, and repeats nothing of it that may be secret."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a URL begins with https:// (or http://) and is plain ASCII")
    if "@" in parts.netloc:
        raise ValueError("no name or password in a URL; refer to the key with key: {env: NAME} or key: {file: /path}")
    if "?" in url or "#" in url:
        raise ValueError("a base URL has no ? and no #")
    if not _PATH.fullmatch(path := parts.path.rstrip("/")) or "/.." in path or "/./" in f"{path}/":
        raise ValueError("the path of a base URL is made of plain names, such as /v1")
    try:
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError("the port is a number from 1 to 65535") from None
    if not insecure:
        if why := refused(host):
            raise ValueError(f"{why}; if you mean it, say insecure: yes")
        if parts.scheme == "http" and not loopback(host):
            raise ValueError("http:// shows everybody on the way what is asked; use https://, or say insecure: yes")
    elif not _known(host):
        raise ValueError("the host is a name or an address")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port == _PORTS[parts.scheme] else f"{shown}:{port}"
    return Site(host, port, parts.scheme == "https", authority, path)


def refused(host: str) -> str:
    """Say why nothing may be sent to this name or address; "" where it may. Ask again for what a name resolves to."""
    host = host.lower().rstrip(".")
    if host in _METADATA_NAMES:
        return f"{host} is a cloud's metadata service, which gives away the host's credentials"
    address = _address(host)
    if address is None:
        return "" if _known(host) else "the host is a name, or an address as people write it: 192.0.2.1, [2001:db8::1]"
    address = _within(address)
    if address in _METADATA:
        return f"{address} is a cloud's metadata service, which gives away the host's credentials"
    if address.is_link_local:
        return f"{address} is link-local, as the metadata services of clouds are"
    if address.is_unspecified or address.is_multicast or (address.is_reserved and not address.is_loopback):
        return f"{address} is no host's address"
    return ""


def loopback(host: str) -> bool:
    """Tell whether this name or address stays on this host."""
    address = _address(host)
    return host.lower() == "localhost" if address is None else _within(address).is_loopback


def _known(host: str) -> bool:
    """Tell whether this is a name or an address that every resolver reads as we do."""
    lower = host.lower()
    return _address(lower) is not None or bool(_NAME.fullmatch(lower) and not _NUMBERS.fullmatch(lower))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _within(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one leads to, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
