"""Texts of the review page in Russian and English: plurals, numbers, durations."""

from __future__ import annotations

from enum import StrEnum

from vitrina.audit.review.phrases import PHRASES


class Language(StrEnum):
    """A language of the page."""

    RU = "ru"
    EN = "en"


class Words:
    """The page's texts in one language."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def __call__(self, key: str, **parts: object) -> str:
        """A phrase by its key. A phrase with `|` has one form for each plural; `n` selects it.

        Raises KeyError for an unknown key.
        """
        text = PHRASES[key][0 if self.language is Language.RU else 1]
        if "|" in text:
            number = parts["n"]
            text = text.split("|")[self._form(number if isinstance(number, int) else 5)]
        if isinstance(parts.get("n"), int):
            parts["n"] = self.number(int(str(parts["n"])))
        return text.format(**parts)

    def _form(self, number: int) -> int:
        if self.language is Language.EN:
            return 0 if number == 1 else 1
        if number % 10 == 1 and number % 100 != 11:
            return 0
        return 1 if number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14) else 2

    def number(self, number: int) -> str:
        """An integer with separated thousands."""
        return f"{number:,}".replace(",", "\u00a0" if self.language is Language.RU else ",")

    def percent(self, share: float) -> str:
        """A share from 0 to 1 as a percentage; only 0 and 1 are shown as 0% and 100%."""
        space = "\u00a0" if self.language is Language.RU else ""
        if 0 < share < 0.005:
            return f"<1{space}%"
        if 0.995 <= share < 1:
            return f">99{space}%"
        return f"{share:.0%}".replace("%", f"{space}%")

    def minutes(self, minutes: float) -> str:
        """An approximate duration as text."""
        whole = max(1, round(minutes))
        hours, rest = divmod(whole, 60)
        if not hours:
            return self("minutes", count=rest)
        return self("hours", hours=hours) + (f" {self('minutes', count=rest)}" if rest else "")


def preferred(accepted: str) -> Language:
    """The language for a browser's Accept-Language header; English if it names neither."""
    best, weight = Language.EN, 0.0
    for part in accepted.lower().split(",")[:20]:
        name, _, quality = part.partition(";")
        try:
            value = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if name.strip()[:2] in ("ru", "en") and value > weight:
            best, weight = Language(name.strip()[:2]), value
    return best
