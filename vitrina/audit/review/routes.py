"""Routes of the review page."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from mimetypes import guess_type
from typing import TypeAlias

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from vitrina.audit.results import Suspect
from vitrina.audit.review.decisions_service import DecisionsService, SavedDecisions, Verdict
from vitrina.audit.review.forms import FormFields, NotUnderstoodError, whole_number
from vitrina.audit.review.i18n import Language
from vitrina.audit.review.page import HERE, Pages, Visit, named
from vitrina.audit.review.product_cache import LARGE, SMALL, ProductCache
from vitrina.audit.review.security import same
from vitrina.errors import VitrinaError
from vitrina.page.templates import LOOK
from vitrina.types import Action

LISTED = 40
"""Decisions on one page of their list."""

Look: TypeAlias = Callable[[Request, Visit], Response]
Change: TypeAlias = Callable[[Request, Visit, FormFields], Response]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

_log = logging.getLogger(__name__)


class Routes:
    """Handlers of the review page's addresses."""

    def __init__(
        self, desk: DecisionsService, pages: Pages, shelf: ProductCache, csrf: str
    ) -> None:
        self._desk, self._pages, self._shelf, self._csrf = desk, pages, shelf, csrf
        self._static = {
            path.name: Response(path.read_bytes(), media_type=guess_type(path.name)[0])
            for path in (LOOK, *(HERE / "static").iterdir())
        }

    def look(self, answer: Look) -> Endpoint:
        """Wrap a handler that only reads."""

        @wraps(answer)
        async def endpoint(request: Request) -> Response:
            visit = self._pages.visit(request)

            def work() -> Response:
                try:
                    self._desk.log.refresh(lately=True)
                    return answer(request, visit)
                except (VitrinaError, OSError) as err:
                    _log.warning("%s", err)
                    return self._pages.problem(visit, "failed-read", 503, reason=str(err))

            return await run_in_threadpool(work)

        return endpoint

    def change(self, answer: Change) -> Endpoint:
        """Wrap a handler that changes data; it requires the CSRF token of this process."""

        @wraps(answer)
        async def endpoint(request: Request) -> Response:
            visit = self._pages.visit(request)
            if not same(request.headers.get("x-csrf-token", ""), self._csrf):
                return self._pages.problem(visit, "stale-page", 403)
            try:
                form = await FormFields.of(request)
            except NotUnderstoodError:
                return self._pages.problem(visit, "not-understood", 400)

            def work() -> Response:
                try:
                    return answer(request, visit, form)
                except (VitrinaError, OSError) as err:
                    _log.warning("%s", err)
                    return self._pages.problem(visit, "failed", 503, reason=str(err))

            return await run_in_threadpool(work)

        return endpoint

    def static(self, request: Request) -> Response:
        """A static file from memory, so that no request reaches the file system."""
        found = self._static.get(request.path_params["name"])
        return Response("Not Found", 404, media_type="text/plain") if found is None else found

    def card(self, request: Request, visit: Visit) -> Response:
        """One suspect: the next one, the requested one, or one beside it."""
        if not visit.reviewer:
            return self._pages.answer(visit, "who.html")
        at, step = _number(request, "at"), _number(request, "step")
        if at is not None and step in (1, -1):
            one = self._desk.queue.hand_out(visit.session.key, visit.wanted, at, step)
            return self._ready(visit, self._pages.card(visit, one), one)
        if at is not None and at in self._desk.queue.by_rank:
            return self._pages.card(visit, self._desk.queue.by_rank[at])
        one = self._desk.queue.hand_out(visit.session.key, visit.wanted)
        said = "" if at is None else visit.translate("gone")
        return self._ready(visit, self._pages.card(visit, one, said), one)

    def _ready(self, visit: Visit, response: Response, one: Suspect | None) -> Response:
        """Read the data of the next card after the response is sent."""
        response.background = BackgroundTask(self._shelf.warm, list(self._pages.ahead(visit, one)))
        return response

    def batch(self, request: Request, visit: Visit) -> Response:
        """The whole batch of a suspect."""
        one = self._desk.queue.by_rank.get(_number(request, "at") or 0)
        if not visit.reviewer or one is None:
            return self.card(request, visit)
        return self._pages.batch(visit, one) or self._pages.card(visit, one)

    def search(self, request: Request, visit: Visit) -> Response:
        """Categories that match a reviewer's search."""
        one = self._desk.queue.by_rank.get(_number(request, "at") or 0)
        if one is None:
            return self._pages.problem(visit, "no-such", 404)
        text = request.query_params.get("q", "")[:200]
        found = self._desk.categories.search(text, one)
        return self._pages.answer(visit, "found.html", found=found, one=one, text=text)

    def decided(self, request: Request, visit: Visit) -> Response:
        """A page of the decisions so far."""
        if not visit.reviewer:
            return self._pages.answer(visit, "who.html")
        return self._decided(visit, _number(request, "page") or 0)

    def _decided(self, visit: Visit, page: int, said: str = "") -> Response:
        found = self._desk.decided(visit.wanted)
        page = min(max(page, 0), max(0, (len(found) - 1) // LISTED))
        shown = [
            {
                "tile": self._pages.cards.tile(one),
                "decision": decision,
                "what": self._pages.what(visit, decision.action, decision),
                "who": self._pages.who(visit, decision),
            }
            for one, decision in found[page * LISTED : (page + 1) * LISTED]
        ]
        more = (page + 1) * LISTED < len(found)
        return self._pages.answer(
            visit, "decided.html", shown=shown, page=page, more=more, said=said
        )

    def photo(self, request: Request, visit: Visit) -> Response:
        """A thumbnail."""
        row = whole_number(request.path_params["row"])
        pixels = whole_number(request.path_params["pixels"])
        found = None
        if row is not None and pixels in (SMALL, LARGE):
            found = self._shelf.thumbnail(row, pixels)
        if found is None:
            return self._pages.problem(visit, "no-such", 404)
        kept = {"cache-control": "private, max-age=31536000, immutable"}
        return Response(found, media_type="image/webp", headers=kept)

    def decide(self, _: Request, visit: Visit, form: FormFields) -> Response:
        """Save a decision on one suspect, or on several at once."""
        if not visit.reviewer:
            return self._pages.problem(visit, "need-name", 403)
        if form.get("audit") != self._desk.audit.key:
            return self._pages.problem(visit, "stale-page", 409)
        verdict = self._verdict(visit, form)
        if verdict is None:
            return self._pages.problem(visit, "not-understood", 422)
        if not verdict.known:
            return self._pages.problem(visit, "none-ticked", 422)
        outcome = self._desk.decide(visit.session, verdict)
        if outcome.beaten and verdict.action is not Action.SKIP and len(verdict.known) == 1:
            return self._conflict(visit, verdict, outcome)
        following = self._desk.queue.hand_out(visit.session.key, visit.wanted)
        if verdict.action is Action.SKIP and following and following.rank in verdict.known:
            # It is the only one left, or the one skipped longest ago.
            following = self._desk.queue.hand_out(
                visit.session.key, visit.wanted, following.rank, 1
            )
        said = self._outcome_text(visit, outcome)
        return self._ready(visit, self._pages.card(visit, following, said), following)

    def _verdict(self, visit: Visit, form: FormFields) -> Verdict | None:
        """The verdict in a form; None for an invalid form."""
        known: dict[int, str] = {}
        for pair in form.every("one"):
            digits, _, key = pair.partition(":")
            rank = whole_number(digits)
            if rank is None or rank not in self._desk.queue.by_rank:
                return None
            known[rank] = key
        action, category = form.get("action"), None
        if action not in (Action.KEEP, Action.MOVE, Action.SKIP):
            return None
        token = form.get("category")
        if token:
            found = self._desk.categories.by_token(token)
            if found is None or action != Action.MOVE:
                return None
            category = found.key
        return Verdict(
            Action(action), known, visit.reviewer, category, visit.translate.language.value
        )

    def _conflict(self, visit: Visit, verdict: Verdict, outcome: SavedDecisions) -> Response:
        one, standing = outcome.beaten[0]
        chosen = verdict.category
        conflict = {
            "what": self._pages.what(visit, standing.action, standing),
            "who": self._pages.who(visit, standing),
            "action": verdict.action.value,
            "category": "" if chosen is None else self._desk.categories[chosen].token,
            "known": standing.key,
        }
        return self._pages.card(visit, one, conflict=conflict)

    def _outcome_text(self, visit: Visit, outcome: SavedDecisions) -> str:
        """A message about the outcome of a verdict."""
        translate, said = visit.translate, []
        if outcome.made:
            first = outcome.made[0]
            what = self._pages.what(visit, first.action, first)
            title = self._desk.audit.by_product[first.product_id].title
            many = len(outcome.made) > 1
            said.append(
                translate("said-many", n=len(outcome.made), what=what)
                if many
                else translate("said-one", title=title or translate("no-title"), what=what)
            )
        for one in outcome.agreed[:1]:
            title = self._desk.audit.by_product[one.product_id].title
            said.append(translate("agreed", title=title, who=self._pages.who(visit, one)))
        if outcome.beaten:
            who = sorted({self._pages.who(visit, decision) for _, decision in outcome.beaten})
            said.append(translate("conflict-many", n=len(outcome.beaten), who=", ".join(who)))
        return " ".join(said)

    def undo(self, request: Request, visit: Visit, form: FormFields) -> Response:
        """Undo the last decision of this session, or the one whose key is given."""
        if not visit.reviewer:
            return self._pages.problem(visit, "need-name", 403)
        translate = visit.translate
        if key := form.get("key"):
            one = self._desk.undo_one(key, visit.reviewer)
            title = self._desk.audit.by_product[one.product_id].title if one else ""
            said = translate("said-undo", title=title) if one else translate("undo-none")
            return self._decided(visit, _number(request, "page") or 0, said)
        undone = self._desk.undo(visit.session, visit.reviewer)
        if not undone:
            following = self._desk.queue.hand_out(
                visit.session.key, visit.wanted, _number(request, "at")
            )
            return self._pages.card(visit, following, translate("undo-none"))
        first = self._desk.audit.by_product[undone[0].product_id]
        if len(undone) > 1:
            said = translate("said-undo-many", n=len(undone))
            return self._pages.batch(visit, first, said) or self._pages.card(visit, first, said)
        return self._pages.card(visit, first, translate("said-undo", title=first.title))

    def settings(self, _: Request, __: Visit, form: FormFields) -> Response:
        """Store a reviewer's name or language in cookies."""
        response = HTMLResponse("", headers={"hx-refresh": "true"})
        name, language = named(form.get("reviewer")), form.get("language")
        if name:
            self._pages.remember(response, "reviewer", name)
        elif form.get("change"):
            self._pages.remember(response, "reviewer", "")
        if language in tuple(Language):
            self._pages.remember(response, "language", language)
        return response


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    number = whole_number(text.removeprefix("-"))
    return -number if number is not None and text.startswith("-") else number
