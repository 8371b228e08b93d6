"""Endpoint addresses as gateways dial them: IP literals, spelled one way."""

import ipaddress

ALLOWED = "an IP address such as 10.0.0.7 or fd00::7"


def problem_of(address: str) -> str | None:
    """Why nothing can be dialled there; None: it is fine."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return f"{address!r} is not an IP address"
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
        return f"{address!r} has a zone, which is only known on one machine"
    if ip.is_unspecified or ip.is_multicast:
        return f"{address!r} is not the address of one machine"
    return None


def endpoint_id(address: str, port: int) -> str:
    """``10.0.0.7:8000`` or ``[fd00::7]:8000``, in the shortest spelling."""
    ip = ipaddress.ip_address(address)
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
