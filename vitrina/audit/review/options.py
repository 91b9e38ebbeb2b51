"""Options of the review server."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass

from vitrina.audit.review.words import Language

_EVERYWHERE = ("", "0.0.0.0", "::")


@dataclass(frozen=True)
class ReviewOptions:
    """Options of the review server: address, access and language.

    Attributes:
        host, port: the address to bind to.
        token: required in the page's address when it is first opened; generated if none is given
            and the host is not local. None: no token is required.
        reviewer: name recorded with decisions; "" for a question on the page, once.
        language: of the page; None for the browser's. The page has a switch in either case.
        names: other host names of the page, such as that of a proxy.

    Raises ValueError for an invalid port or token.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    reviewer: str = ""
    language: Language | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise ValueError(f"{self.port} is no port; give one from 1 to 65535")
        if self.token is None and not self.local:
            object.__setattr__(self, "token", secrets.token_urlsafe(24))
        if self.token is not None and not (self.token.isascii() and len(self.token) >= 16):
            raise ValueError("a token needs 16 letters or digits, so that it can't be guessed")

    @property
    def local(self) -> bool:
        """True if only this machine can reach the page."""
        if self.host == "localhost":
            return True
        address = _address(self.host)
        return address is not None and address.is_loopback

    @property
    def everywhere(self) -> bool:
        """True if the server is bound to all addresses of the machine."""
        return self.host in _EVERYWHERE

    @property
    def url(self) -> str:
        """The address to open, with the token in it."""
        host = "localhost" if self.everywhere else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def serves(self, host: str) -> bool:
        """True if a request's Host header names this server.

        Another site can make its own name resolve to this machine (DNS rebinding), and the header
        reveals that. It can't do so with an IP address, so all addresses are accepted where the
        server is bound to all.
        """
        name, mark, port = host.rpartition(":")
        if not mark or name.count("[") != name.count("]"):
            name, port = host, "80"
        if port != str(self.port):
            return False
        name = name.lower().strip("[]")
        known = {"localhost", "127.0.0.1", "::1", self.host, *self.names}
        if name in {one.lower().strip("[]") for one in known} - {""}:
            return True
        return self.everywhere and _address(name) is not None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
