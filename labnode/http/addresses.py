"""Clients' addresses, as limits count them."""

from __future__ import annotations

import ipaddress


def source_of(address: str) -> str:
    """What one client can have many addresses of, and counts once: an IPv6 network of 64 bits."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.ip_network((int(ip), 64), strict=False))
