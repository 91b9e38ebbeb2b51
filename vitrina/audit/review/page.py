"""Page rendering: reads reviewer, language and filter from a request, and fills the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse

from vitrina.audit.results import Suspect
from vitrina.audit.review.cards import CardMaker
from vitrina.audit.review.decisions_service import DecisionsService
from vitrina.audit.review.i18n import Language, Translator, preferred
from vitrina.audit.review.options import ReviewOptions
from vitrina.audit.review.product_cache import LARGE, SMALL
from vitrina.audit.review.queue import Filter
from vitrina.audit.review.session import Session
from vitrina.page.templates import environment
from vitrina.store.decisions import Decision
from vitrina.types import Action, Reason

HERE = Path(__file__).parent
LONGEST_NAME = 60
BATCH = 60
"""Upper limit of suspects on a batch page: a reviewer can't check more before one keystroke."""

_YEAR = 365 * 24 * 3600
_LEAST = (0.5, 0.7, 0.9, 0.95)
_LISTED = 400


@dataclass(frozen=True)
class Visit:
    """One request: its session, reviewer, filter and language. reviewer: "" for unknown. partial:
    htmx sent the request."""

    session: Session
    reviewer: str
    wanted: Filter
    translate: Translator
    partial: bool


class Pages:
    """Renders the pages of the routes. csrf, version: of this process."""

    def __init__(
        self,
        desk: DecisionsService,
        cards: CardMaker,
        options: ReviewOptions,
        csrf: str,
        version: str,
    ) -> None:
        self.desk, self.cards, self._options, self._csrf = desk, cards, options, csrf
        self._prefix = f"vitrina-{options.port}"
        self._environment = environment(HERE)
        self._environment.globals |= {
            "audit_key": desk.audit.key,
            "version": version,
            "SMALL": SMALL,
            "LARGE": LARGE,
            "REASONS": tuple(Reason),
            "LEAST": _LEAST,
            "fixed_name": bool(options.reviewer),
        }
        keys = {key for one in desk.queue.suspects for key in (one.given, one.suggested)}
        paths = sorted("->".join(desk.categories[key].path) for key in keys)
        self._paths = [path for path in paths if path][:_LISTED]

    def visit(self, request: Request) -> Visit:
        """Read session, reviewer, filter and language from a request."""
        cookies = request.cookies
        chosen = cookies.get(f"{self._prefix}-language", "")
        if chosen in tuple(Language):
            language = Language(chosen)
        else:
            accepted = request.headers.get("accept-language", "")
            language = self._options.language or preferred(accepted)
        name = unquote(cookies.get(f"{self._prefix}-reviewer", ""))
        return Visit(
            session=self.desk.sessions.of(cookies.get(f"{self._prefix}-session")),
            reviewer=self._options.reviewer or named(name),
            wanted=Filter.parse(request.query_params),
            translate=Translator(language),
            partial=request.headers.get("hx-request") == "true",
        )

    def answer(
        self, visit: Visit, template: str, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """Render a template as a response. htmx gets only the part that it requested."""
        content = self._environment.get_template(template).render(
            **context,
            t=visit.translate,
            visit=visit,
            query=visit.wanted.query,
            csrf=self._csrf,
            paths=self._paths,
            progress=self.desk.progress(visit.session, visit.reviewer, visit.wanted),
        )
        response = HTMLResponse(content, status)
        response.headers["vary"] = "HX-Request, Cookie, Accept-Language"
        response.set_cookie(
            f"{self._prefix}-session", visit.session.key, httponly=True, samesite="strict"
        )
        return response

    def remember(self, response: HTMLResponse, key: str, value: str) -> None:
        """Store a setting in a cookie for a year."""
        response.set_cookie(
            f"{self._prefix}-{key}", quote(value), _YEAR, httponly=True, samesite="strict"
        )

    def problem(self, visit: Visit, key: str, status: int, **parts: object) -> HTMLResponse:
        """An error message instead of a page, or above it in reply to htmx."""
        said = visit.translate(key, **parts)
        return self.answer(visit, "problem.html", status, said=said)

    def card(
        self, visit: Visit, one: Suspect | None, said: str = "", **context: Any
    ) -> HTMLResponse:
        """The page of a suspect, or a message that none is left."""
        if one is None:
            left = self.desk.progress(visit.session, visit.reviewer, visit.wanted).left
            return self.answer(visit, "empty.html", said=said, waiting=left > 0)
        elsewhere = not self.desk.queue.take(visit.session.key, [one])
        card = self.cards.of(one)
        shown: dict[str, Any] = {
            "said": said,
            "card": card,
            "elsewhere": elsewhere,
            "conflict": None,
        } | context
        settled = card.settled
        shown["was"] = self.what(visit, settled.action, settled) if settled else ""
        shown["ahead"] = [self.cards.tile(other) for other in self._ahead(visit, one)]
        return self.answer(visit, "card.html", **shown)

    def _ahead(self, visit: Visit, one: Suspect) -> Sequence[Suspect]:
        """The suspects whose photos the browser may prefetch."""
        left = self.desk.queue.open(visit.wanted)
        free = self.desk.queue.free(visit.session.key, left[:50])
        later = [other for other in free if other.rank > one.rank]
        return later[:2]

    def ahead(self, visit: Visit, one: Suspect | None) -> Sequence[Suspect]:
        """The suspects that are likely to be requested next."""
        return () if one is None else self._ahead(visit, one)

    def batch(self, visit: Visit, one: Suspect, said: str = "") -> HTMLResponse | None:
        """The page of a suspect's batch; None if fewer than two of it are free."""
        queue = self.desk.queue
        alike = [other for other in queue.alike(one) if queue.settled(other) is None]
        free = queue.free(visit.session.key, alike)
        if len(free) < 2:
            return None
        shown = free[:BATCH]
        queue.take(visit.session.key, shown)
        given, suggested = self.cards.paths(one)
        tiles = [self.cards.tile(other) for other in shown]
        parts: Mapping[str, Any] = {"tiles": tiles, "cut": len(free) > BATCH, "said": said}
        return self.answer(visit, "batch.html", one=one, given=given, suggested=suggested, **parts)

    def what(self, visit: Visit, action: Action, decision: Decision) -> str:
        """A decision as text."""
        if decision.category is None:
            return visit.translate(f"did-{action}")
        return visit.translate(
            f"did-{action}", category=self.desk.categories[decision.category].leaf
        )

    def who(self, visit: Visit, decision: Decision) -> str:
        """The reviewer of a decision, or a phrase for an unnamed one."""
        return decision.reviewer or visit.translate("nobody")


def named(name: str) -> str:
    """A reviewer's name as it is stored: printable, single spaces, at most `LONGEST_NAME` long."""
    return " ".join("".join(one if one.isprintable() else " " for one in name).split())[
        :LONGEST_NAME
    ]
