"""Suspects as tasks for Label Studio, and its annotations as decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from vitrina.audit.finding import Audit
from vitrina.errors import CatalogueError
from vitrina.ids import id_keys
from vitrina.pipelines.audit.corrections import category_names
from vitrina.store.decisions import Decision, add_decisions
from vitrina.store.files import check_file, replacing
from vitrina.store.store import Store
from vitrina.types import Action, CategoryId, ProductId

_NEVER = datetime.min.replace(tzinfo=UTC)
CHOICE = "category"
"""The name of the choice in a Label Studio project."""


def export_tasks(store: Store, out: Path) -> int:
    """Write the suspects that are still open as tasks for Label Studio, with what the audit
    suggests as a prediction, and a project's labelling configuration beside them.

    out: `.json`; the configuration lies beside it as `.xml`. Returns the number of tasks.
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


def import_tasks(store: Store, path: Path) -> int:
    """Read annotations of Label Studio's JSON export as decisions, and put them into the store.

    An annotation whose choice is the given category keeps it; one that was skipped or has no
    choice skips the product; the last one of a task counts. Annotations that are in the store
    already, and those older than one of the same task in it, are left out. As what is added last
    stands, an annotation is recorded as later than what reviewers decided before the import; when
    it was made is kept with it. Returns the number of new decisions.

    Raises CatalogueError naming the file and the task that can't be understood.
    """
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise CatalogueError(f"{path} can't be read as JSON ({err})") from err
    if not isinstance(tasks, list):
        raise CatalogueError(f"{path} is no list of tasks; export the project as JSON")
    labels = store.categories()
    by_text = {_shown(key, category_names(store)): key for key in labels.ids}
    decisions = store.decisions().all
    known, latest = {one.key for one in decisions}, _latest(decisions)
    found = []
    for number, task in enumerate(tasks, start=1):
        try:
            found += [
                one
                for one in _decided(task, by_text)
                if one.key not in known
                and one.time > latest.get((one.product_id, task.get("id")), _NEVER)
            ]
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as err:
            raise CatalogueError(
                f"{path}: task {number} can't be understood ({err!r}); nothing was imported: mend "
                "or remove it"
            ) from err
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
    """When the last annotation of each task was made that is in the store, by product and task."""
    latest: dict[tuple[ProductId, Any], datetime] = {}
    for one in decisions:
        task = one.shown.get("label_studio")
        if task is None or one.action is Action.UNDO:
            continue
        made = one.shown.get("annotated")
        time = datetime.fromisoformat(made) if made else one.time
        key = one.product_id, task
        latest[key] = max(time, latest.get(key, time))
    return latest


def _decided(task: dict[str, Any], by_text: Mapping[str, CategoryId]) -> Iterator[Decision]:
    data = task["data"]
    notes = task.get("annotations", [])
    if not notes:
        return
    last = max(notes, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
    chosen = [
        choice
        for result in last.get("result", [])
        if result.get("from_name") == CHOICE
        for choice in result["value"]["choices"]
    ]
    moment = last.get("updated_at") or last.get("created_at")
    time = datetime.fromisoformat(moment) if moment else datetime.now(UTC)
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    who = last.get("completed_by")
    if isinstance(who, dict):
        who = who.get("email")
    given = data["given_category_id"]
    action = Action.SKIP
    category: CategoryId | None = None
    if chosen and not last.get("was_cancelled"):
        if chosen[0] not in by_text:
            raise ValueError(f"{chosen[0]!r} is no category of this store")
        category = by_text[chosen[0]]
        action = Action.KEEP if category == given else Action.MOVE
    yield Decision(
        product_id=data["product_id"],
        action=action,
        given=given,
        category=category,
        reviewer=f"Label Studio {who or ''}".strip(),
        time=time,
        shown={
            "audit": data.get("audit"),
            "label_studio": task.get("id"),
            "annotated": time.isoformat(),
        },
        key=f"label-studio-{task.get('id')}-{last.get('id')}-{moment}",
    )


def _configuration(store: Store) -> str:
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
    """A category as a person reads it; its id tells apart two of one path."""
    name = names.get(category, "")
    return f"{name} [{category}]" if name else str(category)
