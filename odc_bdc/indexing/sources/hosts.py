"""Which hosts are asked, and at which addresses: a foreign document opens no private network.

Names are checked before a request, addresses when a connection is made: what a name leads to is
looked up once, and that address is the one that is connected to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Self, TypeAlias

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from odc_bdc.errors import InvalidValueError, OdcBdcError
from odc_bdc.indexing.sources.access import plain_href

HOSTS_VARIABLE = "ODC_BDC_HOSTS"
"""Environment variable with more hosts, separated by commas; the only way to private ones for
who reads pixels."""

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_PORTS = {"http": 80, "https": 443}
_WEB_PORTS = frozenset(_PORTS.values())
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Programs disagree on what a host is behind these.
_AMBIGUOUS = re.compile(r"[\x00-\x1f\x7f\\]")
_OLD_ADDRESS = re.compile(r"[0-9a-fx.]+", re.IGNORECASE)


class RefusedError(OdcBdcError):
    """What is not asked, or not read to its end, whatever it may hold."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts that may be asked.

    Attributes
    ----------
    names
        Hosts, each with a port, and addresses of buckets, that somebody named who may.
    networks
        Private networks that may be connected to, each at some ports; None for all of them.
    only
        Hosts that are not in `names` are refused. Else all are asked that lie at public addresses.
    trusted
        Hosts in `names` may lie anywhere: they are of the configuration of this machine.
    """

    names: frozenset[tuple[str, int] | str] = frozenset()
    networks: tuple[tuple[Network, frozenset[int] | None], ...] = ()
    only: bool = False
    trusted: bool = False

    @classmethod
    def of(cls, named: Iterable[str], *, only: bool = True, trusted: bool = False) -> Self:
        """Read hosts (``host``, ``host:port``), networks (``10.0.0.0/8``) and addresses.

        A private address is opened by naming it, or its network, and not by a name that leads to
        it: who owns the name may let it lead elsewhere. Only ``localhost`` is what it says.

        Raises
        ------
        InvalidValueError
            If one can be none of these.

        Examples
        --------
        >>> hosts = Hosts.of(["https://data.inpe.br/bdc/stac/v1", "10.1.2.3:8080"])
        >>> hosts.check("https://data.inpe.br/other"), hosts.may_reach("10.1.2.3", 8080)
        (None, True)
        >>> hosts.may_reach("10.1.2.3", 80), hosts.may_reach("169.254.169.254", 80)
        (False, False)
        """
        names: set[tuple[str, int] | str] = set()
        networks: list[tuple[Network, frozenset[int] | None]] = []
        for text in filter(None, (one.strip() for one in named)):
            if network := _network(text):
                networks.append((network, None))
                continue
            host, ports = _named(text)
            names |= {(host, port) for port in ports} if ports else {host}
            address = literal(host)
            loopback = ("127.0.0.1/32", "::1/128") if host == "localhost" else ()
            meant = (str(address),) if address else loopback
            networks += [(ipaddress.ip_network(one), ports) for one in meant]
        return cls(frozenset(names), tuple(networks), only, trusted)

    def check(self, address: str) -> None:
        """See that an address may be asked, as far as it tells by itself.

        Raises
        ------
        RefusedError
            If it may not; the message shows no more of the address than its host.
        """
        scheme = address.partition("://")[0].lower() if "://" in address else "file"
        if scheme in {"file", "memory"}:
            return
        if scheme not in _PORTS:
            bucket = _bucket(address)
            if self.only and bucket not in self.names:
                raise _unnamed(bucket)
            return
        host, port = _host(address)
        self.check_host(host, port)
        known = literal(host)
        if known is not None and not self.may_reach(str(known), port):
            raise _private(host, str(known), port)

    def check_host(self, host: str, port: int) -> None:
        """See that a host may be asked, by its name; raises as `check`."""
        if self.only and (host.lower().rstrip("."), port) not in self.names:
            known = literal(host)
            if known is None or not any(known in network for network, _ in self.networks):
                raise _unnamed(host if port in _WEB_PORTS else f"{host}:{port}")

    def may_reach(self, address: str, port: int) -> bool:
        """Tell whether an address of the network may be connected to."""
        found = _plain(ipaddress.ip_address(address.partition("%")[0]))
        is_local = found.is_multicast or found.is_reserved or getattr(found, "is_site_local", False)
        if found.is_global and not is_local:
            return True
        return any(
            found in network and (ports is None or port in ports)
            for network, ports in self.networks
        )

    def addresses(self, host: str, port: int) -> list[str]:
        """Look up a name; give the addresses that may be connected to.

        Raises
        ------
        RefusedError
            If there is none.
        OSError
            If the name is not known.
        """
        self.check_host(host, port)
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        known = list(dict.fromkeys(str(one[4][0]) for one in found))
        is_trusted = self.trusted and (host.lower(), port) in self.names
        allowed = [one for one in known if is_trusted or self.may_reach(one, port)]
        if not allowed:
            raise _private(host, known[0], port)
        return allowed


def literal(host: str) -> Address | None:
    """Give the address that a host is by itself, in any of its spellings; None for a name.

    Examples
    --------
    >>> [str(literal(host)) for host in ("[::1]", "2130706433", "0177.0.0.1", "0x7f.1")]
    ['::1', '127.0.0.1', '127.0.0.1', '127.0.0.1']
    >>> literal("data.inpe.br"), literal("cafe")
    (None, None)
    """
    text = host.strip("[]").partition("%")[0].rstrip(".")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        if not _OLD_ADDRESS.fullmatch(text):
            return None
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError:
        return None


def _plain(address: Address) -> Address:
    """Give the address that is meant by one of IPv6 that only wraps one of IPv4."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if wrapped is None and int(address) >> 32 == 0 and int(address) > 1:
        wrapped = IPv4Address(int(address))
    return wrapped or address


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _named(text: str) -> tuple[str, frozenset[int] | None]:
    """Read a host, and the ports that are meant; a bucket has none."""
    given = text if "://" in text else f"//{text}"
    try:
        if "://" in text and text.partition("://")[0].lower() not in _PORTS:
            return _bucket(text), None
        parts = parse_url(given)
        host = (parts.host or "").lower().strip("[]").rstrip(".")
    except LocationParseError:
        host = ""
    if not host or "*" in host:
        reason = "it has no host" if "://" in text else "give host, host:port or a network"
        raise InvalidValueError(f"{plain_href(text)}: cannot be read as an address: {reason}")
    if parts.port:
        return host, frozenset({parts.port})
    # Servers lead from http to https; an address without a name is taken by its word.
    is_exact = parts.scheme in _PORTS and literal(host) is not None
    return host, frozenset({_PORTS[str(parts.scheme)]}) if is_exact else _WEB_PORTS


def _bucket(address: str) -> str:
    scheme, _, rest = address.partition("://")
    return f"{scheme.lower()}://{rest.partition('/')[0].partition('?')[0]}"


def _host(address: str) -> tuple[str, int]:
    """Give host and port of an address, as the library reads it that asks."""
    try:
        parts = parse_url(address)
    except LocationParseError as e:
        raise RefusedError("it cannot be read as an address") from e
    if not parts.host or _AMBIGUOUS.search(address):
        raise RefusedError("it cannot be read as an address")
    return parts.host.strip("[]"), parts.port or _PORTS[str(parts.scheme)]


def _unnamed(host: str) -> RefusedError:
    return RefusedError(
        f"{host} is not asked: neither the command nor the recipe names it; "
        f"list it as one of `hosts` in the recipe, or in {HOSTS_VARIABLE}"
    )


def _private(host: str, address: str, port: int) -> RefusedError:
    where = address if host == address else f"{host} ({address})"
    return RefusedError(
        f"{where} is not asked: it is no public address; "
        f"if it is yours, name it: {HOSTS_VARIABLE}={_shown(address, port)}"
    )


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
