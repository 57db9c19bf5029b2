"""Which hosts of the network may be reached on behalf of a client (reliability A11)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

RESOLVERS = 4
"""Names that are looked up at once. A server of names that does not answer holds a thread for half a minute: these are
threads of their own, so that nothing else waits."""

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that IANA has given to hosts of the Internet; what else IPv6 can spell reaches something else."""

TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 behind a translator (RFC 6052), in the last four bytes."""

SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""Not hosts of the Internet either (IANA's registries of special-purpose addresses); not every Python knows of these."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Addresses of a host, for a port."""


def is_public(address: Address) -> bool:
    """Whether an address is that of one host on the Internet, however it is spelled."""
    if any(address in network for network in SPECIAL):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address in TRANSLATED:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    # Tunnels (6to4, Teredo) carry an IPv4 address inside, which may be of any kind.
    is_tunnel = address.sixtofour is not None or address.teredo is not None
    return address in GLOBAL_UNICAST and address.is_global and not is_tunnel


class Gatekeeper:
    """Gives the addresses under which a host may be reached: public ones, and those that an operator allows."""

    def __init__(self, *, allowed: Collection[str] = (), resolve: Resolve | None = None) -> None:
        """Let through what is public.

        Parameters
        ----------
        allowed
            Host names, addresses and networks (``10.1.0.0/16``) that are let through as well.
        resolve
            Looks up names; ``None``: as the system does.
        """
        self._networks = [network for text in allowed if (network := _network(text)) is not None]
        self._names = {_plain(text) for text in allowed if _network(text) is None}
        self._resolve = resolve or self._look_up
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="gw-names")

    async def addresses(self, host: str, port: int) -> list[str]:
        """Look a host up; give those of its addresses that may be reached, maybe none."""
        found = await self._resolve(host, port)
        is_known = _plain(host) in self._names
        return [text for text in dict.fromkeys(found) if is_known or self._may_reach(text)]

    def allows(self, host: str) -> bool:
        """Whether an operator has named this host or address."""
        network = _network(host)
        return _plain(host) in self._names or (network is not None and self._is_listed(network.network_address))

    def close(self) -> None:
        """Let go of threads that still look up names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _may_reach(self, text: str) -> bool:
        address = ip_address(text.partition("%")[0])
        return is_public(address) or self._is_listed(address)

    def _is_listed(self, address: Address) -> bool:
        plain = address.ipv4_mapped if isinstance(address, IPv6Address) and address.ipv4_mapped else address
        return any(plain in network for network in self._networks)

    async def _look_up(self, host: str, port: int) -> list[str]:
        def work() -> list[str]:
            return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (OSError, UnicodeError):  # no such host, or no name of one
            return []


def _network(text: str) -> Network | None:
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _plain(name: str) -> str:
    return name.lower().rstrip(".")
