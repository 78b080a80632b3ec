"""Fetches pictures behind links, without giving a client access to the server's own network.

A client that may name a URL may make this server call it, so what is reachable from here and not
from outside must not be reachable through it. Each hop of a chain of redirects is parsed and
checked again: scheme, port and host by the rules, then every address that the name resolves to. The
connection goes to these checked addresses and to nothing that a second look-up would say; Host and
SNI remain the name's. Refusals for what lies inside the network, for names that do not exist and
for servers that do not answer all read the same.

What comes back is bytes of at most the allowed size that begin like a supported picture; what
the server calls them is ignored, and whether they are one is for the decoder to decide.
"""

from __future__ import annotations

import asyncio
import math
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from guardrail.errors import RequestError
from guardrail.hosts import HOST_RULE, RemoteMode
from guardrail.images.header import sniff
from guardrail.images.limits import too_large
from guardrail.required_option import require_option

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

__all__ = ["INTERNET", "Network", "RemoteImages", "fetch_image", "is_public"]

Address: TypeAlias = IPv4Address | IPv6Address

_SCHEMES = frozenset({"http", "https"})
_USUAL_PORTS = frozenset({80, 443})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_URL_CHARS = 4096
_MOST_REDIRECTS = 10
_PIECE_BYTES = 1 << 16
_HOST_RULE = re.compile(HOST_RULE)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FOREIGN = re.compile(r"[^\x21-\x7e]|\\")  # blanks, controls, non-ASCII; parsers differ on these
_HEADERS = {"Accept": "image/png, image/jpeg, image/webp, image/gif", "Accept-Encoding": "identity"}

# `is_global` alone would let through multicast, 6to4 and NAT64 (which carry an IPv4 address of the
# sender's choice), site-local addresses and one cloud's metadata address, and what it says of some
# ranges changed between patch releases of Python. So IPv4 has this list besides, and of IPv6 only
# what is handed out as global unicast counts, less the parts with a meaning of their own.
_CLOSED_V4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 "
            "172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 "
            "198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
        ).split(),
    )
)
_GLOBAL_V6 = ip_network("2000::/3")
_CLOSED_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # upper half of an interface part that ends in IPv4


@dataclass(frozen=True, slots=True)
class RemoteImages:
    """Whether links to pictures are followed, and how far.

    Attributes:
        mode: `off` follows none, `allow_list` those to `hosts`, `public` those to every public
            address.
        hosts: lower-case names, `*.name` for everything below a name, `name:port` for a port other
            than 80 and 443. A listed host must have public addresses like any other.
        max_bytes: of one encoded picture.
        timeout_s: for one picture, redirects and all.
        max_redirects: 0 follows none.

    Raises:
        ConfigError: a value is out of range.
    """

    mode: RemoteMode = "off"
    hosts: frozenset[str] = frozenset()
    max_bytes: int = 20 * 1024 * 1024
    timeout_s: float = 10.0
    max_redirects: int = 3

    def __post_init__(self) -> None:
        require_option(
            self.mode in get_args(RemoteMode), "mode", "must be off, allow_list or public"
        )
        fits = all(map(_HOST_RULE.fullmatch, self.hosts))
        require_option(
            fits, "hosts", "must be lower-case names, as 'a.example', '*.a.example', 'a:8443'"
        )
        require_option(
            bool(self.hosts) or self.mode != "allow_list", "hosts", "must name at least one host"
        )
        require_option(self.max_bytes >= 1, "max_bytes", "must be at least 1")
        require_option(0 < self.timeout_s < math.inf, "timeout_s", "must be more than 0 and finite")
        in_range = 0 <= self.max_redirects <= _MOST_REDIRECTS
        require_option(in_range, "max_redirects", f"must lie in 0 to {_MOST_REDIRECTS}")

    def allows(self, host: str, port: int) -> bool:
        """Whether the rules, which say nothing of addresses, let this host and port be called."""
        labels = host.split(".")
        names = [host, *("*." + ".".join(labels[i:]) for i in range(1, len(labels)))]
        if any(f"{name}:{port}" in self.hosts for name in names):
            return True
        listed = self.mode == "public" or not self.hosts.isdisjoint(names)
        return self.mode != "off" and port in _USUAL_PORTS and listed


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet and to no internal network.

    A network's own NAT64 prefix looks like any global address and cannot be known here; where
    there is one, the network must not translate it to addresses of its inside.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in closed for closed in _CLOSED_V4)
    plain = address in _GLOBAL_V6 and not any(address in closed for closed in _CLOSED_V6)
    interface = int(address) >> 32 & 0xFFFFFFFF
    return plain and address.is_global and interface not in _ISATAP and address.scope_id is None


# Threads of their own: names that are slow to resolve must not hold up what other work needs.
_LOOK_UPS = ThreadPoolExecutor(8, "guardrail-names")


async def _resolve(host: str, port: int) -> list[Address]:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
    return [ip_address(entry[4][0]) for entry in found]


@dataclass(frozen=True, slots=True)
class Network:
    """How names and addresses are looked at; replaced by tests, which have only loopback."""

    resolve: Callable[[str, int], Awaitable[Sequence[Address]]] = _resolve
    permits: Callable[[Address], bool] = is_public
    tls: ssl.SSLContext | Literal[True] = True


INTERNET = Network()


async def fetch_image(
    url: str, rules: RemoteImages, *, param: str = "image_url", network: Network = INTERNET
) -> bytes:
    """The encoded picture behind a link.

    Args:
        url: an absolute http or https URL, from the client.
        rules: what may be fetched.
        param: JSON path of the URL in the request, for messages.
        network: for tests only.

    Raises:
        RequestError: 400 for a link that may not be or cannot be followed, 413 for a picture over
            the limit, 415 for what is none. No message says what the address or the answer was.
    """
    if rules.mode == "off":
        raise _fault(
            "links to pictures are not fetched; send the picture itself as a data URL, "
            "'data:image/png;base64,...', or set images.remote in the policy of this server",
            param,
            code="remote_image_url_not_supported",
        )
    data = await _in_time(_follow(url, rules, param, network), rules.timeout_s, param)
    if sniff(data) is None:
        raise _fault(
            "the link does not lead to a supported format; link to a PNG, JPEG, WebP, GIF, "
            "BMP or TIFF picture",
            param,
            status=415,
            code="unsupported_image_type",
        )
    return data


async def _in_time(work: Coroutine[None, None, bytes], timeout_s: float, param: str) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await work
    except TimeoutError:
        raise _fault(f"the picture did not arrive within {timeout_s:g} s; {_SEND}", param) from None
    except (aiohttp.ClientError, OSError, ValueError):  # their texts may name addresses
        raise _unreachable(param) from None


async def _follow(url: str, rules: RemoteImages, param: str, network: Network) -> bytes:
    target = _target(url, rules, param)
    for _ in range(rules.max_redirects + 1):
        found = await _one_hop(target, rules, param, network)
        if isinstance(found, bytes):
            return found
        target = _target(_resolve_redirect(target, found, param), rules, param)
    raise _fault(f"the link redirects more than {rules.max_redirects} times; {_SEND}", param)


def _resolve_redirect(base: URL, location: str, param: str) -> str:
    if len(location) > _MAX_URL_CHARS or _FOREIGN.search(location):
        raise _invalid(param)
    try:
        target = base.join(URL(location))
    except ValueError:
        raise _invalid(param) from None
    if base.scheme == "https" and target.scheme == "http":
        raise _fault(f"the link redirects from https to http; {_SEND}", param)
    return str(target)


def _target(url: str, rules: RemoteImages, param: str) -> URL:
    """Parses the URL once; every later step uses these parts, so none reads it differently."""
    if len(url) > _MAX_URL_CHARS or _FOREIGN.search(url):
        raise _invalid(param)
    try:
        target = URL(url).with_fragment(None)
        host, port = (target.raw_host or "").rstrip(".").lower(), target.port
    except ValueError:
        raise _invalid(param) from None
    if target.scheme not in _SCHEMES or not host or port is None:
        raise _invalid(param)
    if "@" in target.raw_authority:
        raise _fault("links with a name or a password are not followed; leave them out", param)
    if _is_numeric(host) or not rules.allows(host, port):
        raise _fault(
            f"this server does not fetch pictures from that host and port; {_SEND}",
            param,
            code="image_url_not_allowed",
        )
    return target


def _is_numeric(host: str) -> bool:
    """Whether some would read the host as an address and others as a name: 0x7f.1, 2130706433."""
    if ":" in host or not _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]):
        return False
    try:
        IPv4Address(host)
    except ValueError:
        return True
    return False


async def _one_hop(target: URL, rules: RemoteImages, param: str, network: Network) -> bytes | str:
    """The body behind one URL, or where it redirects to."""
    addresses = await _check_addresses(target, param, network)
    connector = aiohttp.TCPConnector(
        resolver=_Pinned(addresses), use_dns_cache=False, force_close=True, limit=1, ssl=network.tls
    )
    async with (
        aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the caller's holds
            auto_decompress=False,
            trust_env=False,  # neither proxies nor passwords of the environment
        ) as session,
        session.get(target, headers=_HEADERS, allow_redirects=False) as response,
    ):
        location = response.headers.get("Location")
        if response.status in _REDIRECTS and location is not None:
            return location
        return await _body(response, rules.max_bytes, param)


async def _check_addresses(target: URL, param: str, network: Network) -> list[Address]:
    """Every address of the target's host. Raises RequestError if a single one is not permitted."""
    host = target.raw_host or ""
    try:
        addresses: Sequence[Address] = [ip_address(host)]
    except ValueError:
        addresses = await network.resolve(host, target.port or 0)
    if not addresses or not all(map(network.permits, addresses)):
        raise _unreachable(param)
    return list(addresses)


class _Pinned(AbstractResolver):
    """Answers every look-up with the addresses that were checked."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - fixed by the base class
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Does nothing: no resource is held."""


async def _body(response: aiohttp.ClientResponse, max_bytes: int, param: str) -> bytes:
    """Reads no more than one piece past the limit, and never unpacks anything."""
    if response.status != 200:
        raise _fault(f"the link does not lead to a picture; {_SEND}", param)
    encodings = ",".join(response.headers.getall("Content-Encoding", [])).strip().lower()
    if encodings not in ("", "identity"):
        raise _fault(f"the picture behind the link comes compressed a second time; {_SEND}", param)
    too_much = too_large(f"has more than {max_bytes} bytes", param, "max_image_bytes")
    if (response.content_length or 0) > max_bytes:
        raise too_much
    data = bytearray()
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        data += piece
        if len(data) > max_bytes:
            raise too_much
    return bytes(data)


_SEND = "send the picture itself as a data URL, or another link"


def _fault(
    what: str, param: str, *, status: int = 400, code: str = "image_fetch_failed"
) -> RequestError:
    return RequestError(f"{param}: {what}", status=status, param=param, code=code)


def _invalid(param: str) -> RequestError:
    return _fault(
        "not a link that can be followed; send an absolute http or https URL in plain ASCII",
        param,
        code="invalid_image_url",
    )


def _unreachable(param: str) -> RequestError:
    return _fault(f"the picture could not be fetched from that address; {_SEND}", param)
