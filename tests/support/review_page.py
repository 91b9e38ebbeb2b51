"""Products, an audit and a client for tests of the review page."""

import re
from dataclasses import replace
from html import unescape

from vitrina.audit.results import Audit
from vitrina.audit.review.app import create_app
from vitrina.audit.review.options import ReviewOptions
from vitrina.types import Action

MARKUP = "<img src=x onerror=\"document.title='PWNED'\"> & \"quotes\" 'single' </p>{{ 7*7 }}"
HOME = "http://127.0.0.1:8765"


def marked(audit, *, rank=1, names=True):
    """The audit, with markup in one title and in the names of its categories."""
    suspects = tuple(
        replace(one, title=MARKUP) if one.rank == rank else one for one in audit.suspects
    )
    spoken = {
        key: f"{name}<script>alert(1)</script>" if names else name
        for key, name in audit.names.items()
    }
    return Audit(audit.card, spoken, suspects)


class Page:
    """What a browser with htmx would do, by hand."""

    def __init__(self, app, *, name="Анна", base=HOME, language="ru"):
        from starlette.testclient import TestClient

        self.client = TestClient(app, base_url=base, headers={"accept-language": language})
        self.base = base
        self.text = self.client.get("/").text
        if name:
            self.post("/settings", reviewer=name)
            self.open()

    @property
    def csrf(self):
        return re.search(r"X-CSRF-Token\":\"([^\"]+)\"", self.text)[1]

    @property
    def rank(self):
        found = re.search(r'data-rank="(\d+)"', self.shown)
        return int(found[1]) if found else None

    @property
    def picks(self):
        return [unescape(one) for one in re.findall(r'name="one" value="([^"]*)"', self.shown)]

    @property
    def said(self):
        return unescape(re.search(r'id="said"[^>]*>(.*?)</div>', self.shown, re.DOTALL)[1])

    def open(self, path="/"):
        self.text = self.shown = self.client.get(path).text
        return self

    def look(self, path):
        answer = self.client.get(path, headers={"hx-request": "true"})
        self.shown = answer.text
        return answer

    def post(self, path, headers=None, **form):
        sent = {"origin": self.base, "x-csrf-token": self.csrf, "hx-request": "true"}
        answer = self.client.post(path, data=form, headers={**sent, **(headers or {})})
        if answer.status_code == 200:
            self.shown = answer.text
        return answer

    def decide(self, action, *, query="", picks=None, audit="made-up", **more):
        picks = self.picks[:1] if picks is None else picks
        return self.post(f"/decide{query}", action=action, one=picks, audit=audit, **more)


def opened(store, audit=None, photo=lambda _: None, **options):
    return create_app(store, audit or Audit.of(store), photo, ReviewOptions(**options))


def stands(store, product):
    """What stands of a product in the store: its action and category."""
    found = store.decisions().standing.get(product)
    return (None, None) if found is None else (found.action, found.category)


def clock():
    """A clock that is set by hand."""
    return _Clock()


class _Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


KEEP, MOVE, SKIP = (Action.KEEP.value, Action.MOVE.value, Action.SKIP.value)
