"""How the review page is served."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass

from vitrina.audit.review.words import Language

_EVERYWHERE = ("", "0.0.0.0", "::")


@dataclass(frozen=True)
class ReviewOptions:
    """Where the page is served, and to whom.

    Attributes:
        host, port: what the server is bound to.
        token: what the page's address must hold when it is first opened; made up where the host
            is not this machine alone and none is given. None: whoever reaches it may use it.
        reviewer: whose decisions they are; "" asks on the page, once.
        language: of the page; None goes by the browser. The page has a switch either way.
        names: other names that the page is reached by, such as that of a proxy's machine.

    Raises ValueError for a port or a token that can't be.
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
        """Whether only this machine reaches the page."""
        if self.host == "localhost":
            return True
        address = _address(self.host)
        return address is not None and address.is_loopback

    @property
    def everywhere(self) -> bool:
        """Whether it is bound to all addresses of the machine."""
        return self.host in _EVERYWHERE

    @property
    def url(self) -> str:
        """The address to open, with the token in it."""
        host = "localhost" if self.everywhere else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")

    def serves(self, host: str) -> bool:
        """Whether a request's Host header names this page.

        A page elsewhere can make its own name lead here, and then this header tells; it can't
        do so with a bare address, so any of those will do where all of them are bound.
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
