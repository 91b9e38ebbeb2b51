"""Texts of the audit report's cards: reasons and decisions."""

from __future__ import annotations

from vitrina.store.decisions import Decision
from vitrina.types import Action, Reason

SHORT = {
    Reason.MODEL: "model",
    Reason.NEIGHBOURS: "neighbours",
    Reason.COPIES: "copies elsewhere",
    Reason.MODALITIES: "text against photo",
    Reason.TEXT: "unlike text",
    Reason.PHOTO: "unlike photo",
}
"""Labels for a button or a bar."""
WHOLE = {
    Reason.MODEL: "a model that was not trained on its label is sure of another category",
    Reason.NEIGHBOURS: "its neighbours are of another category",
    Reason.COPIES: "copies of it are in other categories",
    Reason.MODALITIES: "its text and its photo disagree",
    Reason.TEXT: "its text is unlike the others of its category",
    Reason.PHOTO: "its photo is unlike the others of its category",
}


def decided(decision: Decision, name: str) -> str:
    """A decision as text. name: the path of the category decided on, "" for none."""
    leaf = name.split("->")[-1].strip()
    match decision.action:
        case Action.KEEP:
            outcome = "Kept where it is"
        case Action.MOVE:
            outcome = f"Moved to {leaf}"
        case _:
            outcome = "Left undecided"
    by = f" by {decision.reviewer}" if decision.reviewer else ""
    return f"{outcome}{by}, {decision.time:%d.%m.%Y}"
