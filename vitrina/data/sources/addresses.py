"""Test for public internet addresses, the only ones that an untrusted URL may reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
# Reserved, though `ipaddress` in some Python versions treats them as public: protocol
# assignments, 6to4 relays, documentation examples.
_RESERVED = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("3fff::/20"),
)


def is_public(address: str) -> bool:
    """Return True if a numeric address is a single host on the public internet.

    For an IPv6 address that wraps an IPv4 one (mapped, 6to4, NAT64), the wrapped address counts.
    Raises ValueError for an invalid address.
    """
    # A scope, as in fe80::1%eth0, is not part of the number.
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour
        if wrapped is None and ip in _NAT64:
            wrapped = IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
        if ip not in _UNICAST:
            return False
    if any(ip in network for network in _RESERVED):
        return False
    return ip.is_global and not ip.is_multicast
