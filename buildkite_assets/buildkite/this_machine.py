"""Addresses of this machine: they may be http://, and requests to them never pass a proxy.

A proxy would see a token or a webhook's secret in clear text.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

import httpx

from buildkite_assets.buildkite.errors import CertificatesError, ProxyError


def is_this_machine(host: str) -> bool:
    """Return whether a host, as URLs name it, can only be this machine."""
    name = host.lower().removesuffix(".")
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return name == "localhost"
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    # Systems take the unspecified address, such as 0.0.0.0, for loopback.
    return address.is_loopback or address.is_unspecified


def direct_transport(host: str) -> httpx.HTTPTransport | None:
    """Return httpx's transport without any proxy if the host is this machine, else None."""
    return httpx.HTTPTransport() if is_this_machine(host) else None


@contextmanager
def usable_environment() -> Iterator[None]:
    """Make a client of httpx within this block.

    Raises:
        ProxyError: the environment names a proxy that cannot be used.
        CertificatesError: it names certificates that cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise CertificatesError(
            f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: "
            f"{error.strerror}. Correct these variables, or unset them."
        ) from None
    except (ValueError, ImportError, httpx.InvalidURL):
        # The cause would print the proxy's address, and a password in it.
        raise ProxyError(
            "A proxy of the environment cannot be used: check HTTPS_PROXY, HTTP_PROXY and "
            "ALL_PROXY, which need an address such as http://proxy.example.com:8080."
        ) from None
