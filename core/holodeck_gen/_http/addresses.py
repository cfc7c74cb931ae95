"""Which addresses a result may be fetched from.

A result's URL comes from outside and is requested from inside the user's network, so it must not
lead back into that network: not to this machine, not to a router, not to the service at
169.254.169.254 that hands a cloud machine's credentials to whoever asks from within.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from holodeck_gen.errors import DownloadError

if TYPE_CHECKING:
    import httpx

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: RFC 6052, section 2.1: how networks with IPv6 only write IPv4 addresses.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

#: What a name may consist of; anything else is read one way here and another way elsewhere.
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?", re.ASCII | re.IGNORECASE)
_USER = re.compile(r"//[^/]*@")
#: The last label of what the system takes for IPv4, with one to four parts in any base.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)


def check_url(url: str | httpx.URL, *, local: bool) -> httpx.URL:
    """The address of a result, or of where it redirects to.

    A name is not resolved here: what it resolves to is checked when the connection is made, so
    that there is no time in between in which it can change.

    Args:
        url: As the provider gave it.
        local: Whether this machine is allowed, and there also ``http``.

    Raises:
        DownloadError: It is not to be fetched; its query is not told.
    """
    import httpx

    where = without_query(url)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _refused(where, "it is not a web address") from error
    host = parsed.raw_host.decode("ascii")
    if parsed.scheme not in ("https", "http") or not host:
        raise _refused(where, "it is not a web address")
    if parsed.userinfo:
        raise _refused(where, "it holds a user's name")
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise _refused(where, "there is no such port")
    here = is_loopback(host)
    if not (here and local) and not _may_be_public(host):
        raise _refused(where, "it does not lead to a public address")
    if parsed.scheme == "http" and not (here and local):
        raise _refused(where, "it is not https")
    return parsed


def is_allowed(address: str, *, local: bool) -> bool:
    """Whether a connection may go to this IP address.

    Args:
        address: As a resolver returns it.
        local: Whether this machine is allowed, too.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return _is_public(ip) or (local and _plain(ip).is_loopback)


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine by its very form."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serves_locally(provider: object) -> bool:
    """Whether a provider says, by its `endpoint`, that its service runs on this machine."""
    endpoint = str(getattr(provider, "endpoint", None) or "")
    try:
        host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def without_query(url: object) -> str:
    """What may be told of a URL: its query may be a signature, its user-info a password."""
    return _USER.sub("//…@", re.split(r"[?#]", str(url), maxsplit=1)[0])


def _may_be_public(host: str) -> bool:
    """Whether a host is a public IP address in its usual form, or a name."""
    try:
        return _is_public(ipaddress.ip_address(host))
    except ValueError:
        pass
    if is_loopback(host) or not _NAME.fullmatch(host):
        return False
    return not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2])


def _is_public(ip: IpAddress) -> bool:
    ip = _plain(ip)
    return ip.is_global and not (
        ip.is_multicast
        or ip.is_reserved
        or (isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local)
    )


def _plain(ip: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address leads to, where it is only a wrapping."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(ip.packed[-4:])
    return ip.ipv4_mapped or ip.sixtofour or ip


def _refused(where: str, why: str) -> DownloadError:
    return DownloadError(f"{where} is not fetched: {why}", stage="download")
