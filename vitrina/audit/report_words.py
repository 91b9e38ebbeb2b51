"""Texts of the audit report: reasons, evidence and decisions."""

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
    Reason.MODEL: "a model that never saw its label is sure of another category",
    Reason.NEIGHBOURS: "its neighbours are of another category",
    Reason.COPIES: "copies of it stand elsewhere",
    Reason.MODALITIES: "its text and its photo say different things",
    Reason.TEXT: "its text is unlike the others of its category",
    Reason.PHOTO: "its photo is unlike the others of its category",
}
HOW = (
    "<b>What a suspect is.</b> A product whose category is contradicted by evidence that never "
    "saw its own label: models trained on the other products, its nearest neighbours, and copies "
    "of it that stand elsewhere. Suspects are ranked by their score, the surest first.",
    "<b>The percentages.</b> Beside a suspect’s rank stands its score: by how much the evidence "
    "prefers the suggested category, 50% where it hardly does. It ranks; it is no promise that so "
    "many are wrong. Beside a category stands how probable the evidence holds that category to be; "
    "what is left to 100% belongs to the others.",
    "<b>The bars</b> tell how strongly each kind of evidence speaks against the label. Where "
    "several agree, the case is strong; where one stands alone, look twice.",
    "<b>Neighbours and near-duplicates.</b> Each says whether it stands in the category that the "
    "product has now or in the one that is suggested. Their labels may be wrong too.",
)
NOT_SAID = (
    "<b>Nothing has been changed.</b> The report only lists; a person decides.",
    "<b>A suspect may be right.</b> Rare categories, unusual photos and meagre titles look wrong "
    "to every kind of evidence.",
    "<b>A product that is not listed may be wrong.</b> An error that is made throughout a category "
    "looks like the rule, not like an error; tables of categories that look alike are where to "
    "look for those.",
    "<b>The suggestion is the likeliest other category,</b> not always the right one: where a "
    "product fits none of the catalogue’s categories, no suggestion is right.",
)


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
