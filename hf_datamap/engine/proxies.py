"""Which proxy the environment names for a URL: ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``."""

from __future__ import annotations

import ipaddress
import os
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from hf_datamap.engine.secrets import mask
from hf_datamap.errors import ScorerError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: with user and password, where there are any; never to be shown.
        variable: where it is set.
    """

    url: str
    variable: str

    def __str__(self) -> str:
        return f"{urlsplit(self.url).hostname}:{urlsplit(self.url).port or 80} ({self.variable})"

    __repr__ = __str__


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL, None when it is reached directly.

    Raises:
        ScorerError: the variable names no HTTP proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _goes_direct(host, parts.port or (443 if parts.scheme == "https" else 80)):
        return None
    value, variable = _setting(parts.scheme)
    if not value:
        return None
    way_out = f"set {variable} to http://HOST:PORT, or add {host} to NO_PROXY"
    proxy = value if "://" in value else f"http://{value}"
    try:
        proxy_parts = urlsplit(proxy)
        scheme, proxy_host, _ = proxy_parts.scheme, proxy_parts.hostname, proxy_parts.port  # a bad port raises
    except ValueError:
        scheme, proxy_host = "http", None
    if scheme.startswith("socks"):
        raise ScorerError(f"{variable} is a SOCKS proxy ({mask(value)}), which requests cannot go through: {way_out}")
    if scheme not in ("http", "https") or not proxy_host or not value.isprintable() or " " in value:
        raise ScorerError(f"{variable} names no proxy that can be used ({mask(value)!r}): {way_out}")
    return Proxy(proxy, variable)


def _setting(scheme: str) -> tuple[str, str]:
    """The proxy that is set for a scheme, and the variable (or the system) that sets it."""
    for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ:
            continue  # a web server that calls us as CGI sets it from a visitor's header
        if value := os.environ.get(name, "").strip():
            return value, name
    if os.name == "nt" or os.uname().sysname == "Darwin":
        return urllib.request.getproxies().get(scheme, ""), f"the system's {scheme} proxy"
    return "", ""


def _goes_direct(host: str, port: int) -> bool:
    """Whether ``no_proxy`` holds a host: ``*``, a name with all below it, an address, a network, each with a port."""
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for entry in exceptions.replace(",", " ").lower().split():
        name, _, only_port = entry.rpartition(":") if entry.count(":") == 1 or "]:" in entry else (entry, "", "")
        if only_port and only_port != str(port):
            continue
        name = name.strip("[]").lstrip("*").lstrip(".") if name != "*" else name
        if name == "*" or host.lower() == name or (name and host.lower().endswith(f".{name}")) or _within(host, name):
            return True
    return False


def _within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
