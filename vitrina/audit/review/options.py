"""Options of the review server."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass

from vitrina.audit.review.i18n import Language
from vitrina.data.options import PHOTOS
from vitrina.errors import OptionError
from vitrina.options import Options, Panel, option

_EVERYWHERE = ("", "0.0.0.0", "::")


@dataclass(frozen=True, kw_only=True)
class ReviewOptions(Options):
    """Options of the review page: address, access and language.

    Raises OptionError for an invalid port or token.

    Examples
    --------
    >>> vt.ReviewOptions(reviewer="Anna").url
    'http://127.0.0.1:8765/'
    """

    PANEL = Panel.PAGE

    host: str = option(
        "Address to bind to. Other machines reach the page only at an address other than this "
        "machine's own, and then need the token.",
        default="127.0.0.1",
        metavar="ADDRESS",
        right=True,
    )
    port: int = option("TCP port of the page.", default=8765, least=1, most=65535)
    token: str | None = option(
        "Token required in the address when the page is first opened, of at least 16 letters or "
        "digits; default: generated where other machines can reach the page.",
        right=True,
    )
    reviewer: str = option(
        "Name recorded with decisions; default: the page asks for it.", default="", metavar="NAME"
    )
    language: Language | None = option("Language of the page; default: the browser's.")
    images: str | None = option(PHOTOS, panel=Panel.PHOTOS, metavar="PLACE")
    names: tuple[str, ...] = option(
        "Other host names of the page, such as that of a proxy.", default=(), command_line=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.token is None and not self.local:
            object.__setattr__(self, "token", secrets.token_urlsafe(24))
        if self.token is not None and not (self.token.isascii() and len(self.token) >= 16):
            raise OptionError("token", "must be 16 letters or digits or more, to be unguessable")

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
