"""Builds the review application: routes, pages, queue and middleware."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from vitrina.audit.results import Audit
from vitrina.audit.review.cards import CardMaker
from vitrina.audit.review.categories import CategoryList
from vitrina.audit.review.decision_log import DecisionLog
from vitrina.audit.review.decisions_service import DecisionsService
from vitrina.audit.review.options import ReviewOptions
from vitrina.audit.review.page import Pages
from vitrina.audit.review.product_cache import ProductCache
from vitrina.audit.review.queue import Queue
from vitrina.audit.review.routes import Routes
from vitrina.audit.review.security import Guard
from vitrina.audit.review.session import Sessions
from vitrina.store.store import OpenStore
from vitrina.types import ProductId


def create_app(
    store: OpenStore,
    audit: Audit,
    photo: Callable[[ProductId], bytes | None],
    options: ReviewOptions | None = None,
) -> Starlette:
    """The application that serves an audit's suspects to reviewers.

    photo: the bytes of a product's first photo, None where it has none; it is called from several
    threads. Raises StoreError if the store's products or decisions can't be read.
    """
    options = options or ReviewOptions()
    labels = store.categories()
    log, shelf = DecisionLog(store), ProductCache(store, photo)
    rows = shelf.rows(one.product_id for one in audit.suspects)
    codes = {key: int(labels.codes[row]) for key, row in rows.items()}
    now = {key: labels.ids[code] if code >= 0 else None for key, code in codes.items()}
    store_names = dict(zip(labels.ids, labels.names, strict=True))
    categories = CategoryList({**store_names, **audit.names})
    queue = Queue(audit, now, log)
    desk = DecisionsService(audit, categories, queue, log, Sessions())
    csrf, version = secrets.token_urlsafe(24), secrets.token_hex(4)
    pages = Pages(desk, CardMaker(categories, shelf, queue), options, csrf, version)
    routes = Routes(desk, pages, shelf, csrf)
    app = Starlette(
        routes=[
            Route("/", routes.look(routes.card)),
            Route("/batch", routes.look(routes.batch)),
            Route("/categories", routes.look(routes.search)),
            Route("/decided", routes.look(routes.decided)),
            Route("/photo/{row}/{pixels}", routes.look(routes.photo)),
            Route("/decide", routes.change(routes.decide), methods=["POST"]),
            Route("/undo", routes.change(routes.undo), methods=["POST"]),
            Route("/settings", routes.change(routes.settings), methods=["POST"]),
            Route("/static/{name}", routes.static),
        ],
        middleware=[Middleware(Guard, options=options)],
    )
    # An address with an extra slash is unknown.
    app.router.redirect_slashes = False
    return app
