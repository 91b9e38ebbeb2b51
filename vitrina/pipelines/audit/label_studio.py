"""Label Studio: export suspects as tasks, import annotations as decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import msgspec

from vitrina.audit.results import Audit
from vitrina.errors import CatalogueError, StoreError
from vitrina.ids import id_keys
from vitrina.pipelines.audit.corrections import category_names
from vitrina.store.decisions import Decision, add_decisions, in_types
from vitrina.store.files import check_file, replacing
from vitrina.store.store import OpenStore
from vitrina.typed_json import StoredId, convert_json, load_json
from vitrina.types import Action, CategoryId, ProductId

_NEVER = datetime.min.replace(tzinfo=UTC)
EXPORT = "export the project as JSON"
REPAIR = "`vitrina verify STORE --repair` puts damaged decisions aside"
CHOICE = "category"
"""The name of the choice in a Label Studio project."""


def export_tasks(store: OpenStore, out: Path) -> int:
    """Write the undecided suspects as tasks for Label Studio, with the audit's suggestion as a
    prediction, and a project's labelling configuration.

    out: `.json`; the configuration is written next to it as `.xml`. Returns the number of tasks.
    Raises StoreError if the store was not audited.
    """
    check_file(out)
    audit, settled = Audit.of(store), store.decisions().settled
    names = {**category_names(store), **audit.names}
    tasks = []
    for one in audit.suspects:
        if one.product_id in settled:
            continue
        tasks.append(
            {
                "data": {
                    "product_id": one.product_id,
                    "title": one.title,
                    "given_category_id": one.given,
                    "given": _shown(one.given, names),
                    "suggested": _shown(one.suggested, names),
                    "score": round(one.score, 4),
                    "reasons": ", ".join(reason.value for reason in one.reasons),
                    "audit": audit.key,
                },
                "predictions": [
                    {
                        "model_version": f"vitrina {audit.key}",
                        "score": round(one.score, 4),
                        "result": [_result(one.suggested, names)],
                    }
                ],
            }
        )
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
    with replacing(out.with_suffix(".xml")) as temporary:
        temporary.write_text(_configuration(store), encoding="utf-8")
    return len(tasks)


def import_tasks(store: OpenStore, path: Path) -> int:
    """Import annotations of Label Studio's JSON export into the store, as decisions.

    An annotation whose choice is the given category keeps it; one that was skipped or has no
    choice skips the product; the last annotation of a task counts. Annotations that are in the
    store already, or older than a stored one of the same task, are left out. The decision added
    last is in force, so an annotation overrides decisions made before the import; its own time is
    kept with it. Returns the number of new decisions.

    Raises CatalogueError, with the file and the task, for an export that is not valid.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise CatalogueError(f"{path} can't be read ({err.strerror})") from err
    tasks = load_json(content, str(path), EXPORT, CatalogueError)
    if not isinstance(tasks, list):
        raise CatalogueError(f"{path} is no list of tasks; {EXPORT}")
    labels = store.categories()
    by_text = {_shown(key, category_names(store)): key for key in labels.ids}
    decisions = store.decisions().all
    known, latest = {one.key for one in decisions}, _latest(decisions)
    found = []
    for number, task in enumerate(tasks, start=1):
        where, way_out = f"{path}: task {number}", "nothing was imported: fix or remove it"
        known_task = convert_json(task, _Task, where, way_out, CatalogueError)
        try:
            for one in in_types(_decided(known_task, by_text), *store.id_types):
                if store.id_types[1] is int and isinstance(one.given, str):
                    raise ValueError(f"{one.given!r} is no id of a category of this store")
                old = one.time <= latest.get((one.product_id, known_task.id), _NEVER)
                if one.key not in known and not old:
                    found.append(one)
                    # A file may hold a task twice.
                    known.add(one.key)
        except (ValueError, OverflowError, StoreError) as err:
            raise CatalogueError(f"{where} can't be understood ({err}); {way_out}") from err
    strangers = [
        one.product_id
        for one, at in zip(
            found,
            store.products.table.positions(id_keys([one.product_id for one in found])).tolist(),
            strict=True,
        )
        if at < 0
    ]
    if strangers:
        raise CatalogueError(
            f"{path}: {len(strangers)} products, such as {strangers[0]}, are not in {store.place}; "
            "nothing was imported"
        )
    if found:
        add_decisions(store.files, store.products, found)
    return len(found)


def _latest(decisions: Sequence[Decision]) -> dict[tuple[ProductId, Any], datetime]:
    """Time of the last stored annotation of each task, by product and task."""
    latest: dict[tuple[ProductId, Any], datetime] = {}
    for one in decisions:
        where = f"what the decision {one.key} was made by"
        shown = convert_json(dict(one.shown), _Shown, where, REPAIR)
        if shown.label_studio is None or one.action is Action.UNDO:
            continue
        try:
            time = _moment(shown.annotated) if shown.annotated else one.time
        except ValueError as err:
            raise StoreError(f"{where} has no time ({err}); {REPAIR}") from err
        key = one.product_id, shown.label_studio
        latest[key] = max(time, latest.get(key, time))
    return latest


def _moment(text: str) -> datetime:
    """Parse an ISO time, UTC by default. Raises ValueError for another form or year."""
    time = datetime.fromisoformat(text)
    if not 1970 < time.year < 9999:
        raise ValueError(f"a time in the year {time.year}")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@dataclass(frozen=True)
class _Shown:
    """The annotation behind a decision that came from Label Studio."""

    label_studio: int | str | None = None
    annotated: str | None = None


@dataclass(frozen=True)
class _Data:
    """A task's product, as `export_tasks` wrote it."""

    product_id: StoredId
    given_category_id: StoredId | None
    audit: str | None = None


@dataclass(frozen=True)
class _Value:
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Result:
    from_name: str | None = None
    value: Any = None


@dataclass(frozen=True)
class _Annotation:
    result: tuple[_Result, ...] = ()
    created_at: str | None = None
    updated_at: str | None = None
    completed_by: Any = None
    was_cancelled: bool | None = None
    id: int | str | None = None

    @property
    def moment(self) -> str:
        """The time of its last change."""
        return self.updated_at or self.created_at or ""

    @property
    def reviewer(self) -> Any:
        """The reviewer's address, or number."""
        who = self.completed_by
        return who.get("email") if isinstance(who, dict) else who


@dataclass(frozen=True)
class _Task:
    data: _Data
    annotations: tuple[_Annotation, ...] = ()
    id: int | str | None = None


def _decided(task: _Task, by_text: Mapping[str, CategoryId]) -> Iterator[Decision]:
    if not task.annotations:
        return
    last = max(task.annotations, key=lambda one: one.moment)
    chosen = [
        choice
        for result in last.result
        if result.from_name == CHOICE
        for choice in msgspec.convert(result.value, _Value).choices
    ]
    time = _moment(last.moment) if last.moment else datetime.now(UTC)
    given = task.data.given_category_id
    action = Action.SKIP
    category: CategoryId | None = None
    if chosen and not last.was_cancelled:
        if chosen[0] not in by_text:
            raise ValueError(f"{chosen[0]!r} is no category of this store")
        category = by_text[chosen[0]]
        action = Action.KEEP if category == given else Action.MOVE
    yield Decision(
        product_id=task.data.product_id,
        action=action,
        given=given,
        category=category,
        reviewer=f"Label Studio {last.reviewer or ''}".strip(),
        time=time,
        shown={
            "audit": task.data.audit,
            "label_studio": task.id,
            "annotated": time.isoformat(),
        },
        key=f"label-studio-{task.id}-{last.id}-{last.moment or None}",
    )


def _configuration(store: OpenStore) -> str:
    """A project's labelling configuration, in Label Studio's XML."""
    names = category_names(store)
    choices = "".join(f"    <Choice value={quoteattr(_shown(key, names))}/>\n" for key in names)
    return (
        "<View>\n"
        '  <Header value="$title"/>\n'
        '  <Text name="given" value="$given"/>\n'
        '  <Text name="suggested" value="$suggested"/>\n'
        '  <Text name="reasons" value="$reasons"/>\n'
        f'  <Choices name="{CHOICE}" toName="given" choice="single" showInLine="false" '
        'required="true">\n'
        f"{choices}  </Choices>\n"
        "</View>\n"
    )


def _result(category: CategoryId, names: Mapping[CategoryId, str]) -> dict[str, Any]:
    return {
        "from_name": CHOICE,
        "to_name": "given",
        "type": "choices",
        "value": {"choices": [_shown(category, names)]},
    }


def _shown(category: CategoryId, names: Mapping[CategoryId, str]) -> str:
    """A category's path with its id, which distinguishes categories of one path."""
    name = names.get(category, "")
    return f"{name} [{category}]" if name else str(category)
