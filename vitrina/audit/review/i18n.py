"""Phrases of the review page in Russian and English: plurals, numbers, durations."""

from __future__ import annotations

from enum import StrEnum


class Language(StrEnum):
    """A language of the page."""

    RU = "ru"
    EN = "en"


class Translator:
    """The page's phrases in one language."""

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


PHRASES: dict[str, tuple[str, str]] = {
    "title": ("Проверка категорий", "Category review"),
    "skip-link": ("К товару", "To the product"),
    "scripts-off": (
        "Странице нужен JavaScript: включите его для этого адреса.",
        "This page needs JavaScript; allow it for this address.",
    ),
    # Reviewer and language.
    "who": ("Как вас зовут?", "What is your name?"),
    "who-why": (
        "Имя записывается рядом с каждым решением, чтобы было понятно, кто его принял.",
        "It is noted beside each decision, so that others can tell who made it.",
    ),
    "name": ("Имя", "Name"),
    "begin": ("Начать", "Begin"),
    "other-language": ("English", "Русский"),
    "change-name": ("Сменить имя", "Change name"),
    # Actions.
    "keep": ("Оставить", "Keep"),
    "accept": ("Принять", "Accept"),
    "keep-hint": ("Категория верная", "The category is right"),
    "accept-hint": ("Перенести в предложенную", "Move to the suggested one"),
    "pick": ("Другая", "Other"),
    "pick-hint": ("Выбрать другую категорию", "Pick another category"),
    "skip": ("Пропустить", "Skip"),
    "skip-hint": ("Решить позже", "Decide later"),
    "undo": ("Отменить", "Undo"),
    "undo-hint": ("Отменить последнее решение", "Undo the last decision"),
    "previous": ("Предыдущий", "Previous"),
    "next": ("Следующий", "Next"),
    "help": ("Клавиши", "Keys"),
    "close": ("Закрыть", "Close"),
    "zoom": ("Увеличить фото", "Enlarge the photo"),
    "photo-of": ("Фото: {title}", "Photo: {title}"),
    "no-photo": ("Нет фото", "No photo"),
    "no-title": ("Без названия", "No title"),
    # The card.
    "given": ("Сейчас в категории", "Now in"),
    "suggested": ("Предлагаем", "Suggested"),
    "no-name": ("категория {id}", "category {id}"),
    "probability": ("вероятность {share}", "probability {share}"),
    "suspicion": ("Против этой категории: {share}", "Evidence against it: {share}"),
    "why": ("Почему под вопросом", "Why it is in question"),
    "text-says": ("Судя по тексту", "By its text"),
    "photo-says": ("Судя по фото", "By its photo"),
    "neighbours": ("Похожие товары", "Similar products"),
    "copies": ("Почти такие же товары", "Near-duplicates"),
    "agrees-given": ("как у товара", "same category"),
    "agrees-suggested": ("предложенная", "the suggested one"),
    "agrees-neither": ("другая", "another"),
    "details": ("Описание", "Description"),
    "product": ("Товар {id}", "Product {id}"),
    "shop": ("Магазин", "Shop"),
    "skipped-before": ("Этот товар уже пропускали.", "This product was skipped before."),
    "other-has-it": (
        "Этот товар сейчас открыт у другого проверяющего.",
        "Another reviewer has this product open right now.",
    ),
    "settled-already": (
        "Уже решено: {what} ({who}). Новое решение заменит прежнее.",
        "Decided already: {what} ({who}). A new decision takes its place.",
    ),
    # Reasons.
    "reason-model": (
        "Модель, не видевшая этой метки, уверена в другой категории",
        "A model that never saw this label is sure of another category",
    ),
    "reason-neighbours": (
        "У похожих товаров другая категория",
        "Similar products have another category",
    ),
    "reason-copies": (
        "Почти такой же товар лежит в другой категории",
        "A near-duplicate has another category",
    ),
    "reason-modalities": (
        "Текст и фото говорят о разном",
        "Its text and its photo say different things",
    ),
    "reason-text": (
        "Текст не похож на остальные в этой категории",
        "Its text is unlike others of the category",
    ),
    "reason-photo": (
        "Фото не похоже на остальные в этой категории",
        "Its photo is unlike others of the category",
    ),
    "short-model": ("мнение модели", "the model"),
    "short-neighbours": ("похожие товары", "similar products"),
    "short-copies": ("дубликаты", "near-duplicates"),
    "short-modalities": ("текст против фото", "text against photo"),
    "short-text": ("необычный текст", "unusual text"),
    "short-photo": ("необычное фото", "unusual photo"),
    # Batches.
    "batch": ("Похожие разом", "Batch"),
    "batch-more": (
        "Ещё {n} такой же — решить разом|Ещё {n} таких же — решить разом|"
        "Ещё {n} таких же — решить разом",
        "{n} more like it: decide at once|{n} more like it: decide at once",
    ),
    "batch-title": (
        "{n} похожий товар|{n} похожих товара|{n} похожих товаров",
        "{n} product that looks alike|{n} products that look alike",
    ),
    "batch-hint": (
        "Снимите отметку с тех, которые решите отдельно. Решение получат все отмеченные.",
        "Untick those to be decided apart. The decision goes to all that are ticked.",
    ),
    "batch-cut": (
        "Показаны первые {n}; остальные — после них.",
        "The first {n} are shown; the rest follow after them.",
    ),
    "batch-back": ("По одному", "One by one"),
    "none-ticked": ("Не отмечен ни один товар.", "No product is ticked."),
    # Search.
    "search": ("Найти категорию", "Find a category"),
    "search-hint": (
        "Начните слово: порядок слов не важен. ↑ ↓ выбрать, Enter принять, Esc закрыть.",
        "Type beginnings of words in any order. ↑ ↓ choose, Enter takes, Esc closes.",
    ),
    "search-none": ("Ничего не нашлось", "Nothing found"),
    "search-found": (
        "{n} категория|{n} категории|{n} категорий",
        "{n} category|{n} categories",
    ),
    "near": ("рядом", "near"),
    # Filters and lists.
    "filters": ("Фильтры", "Filters"),
    "filter-category": ("Категория, её часть или номер", "Category, a part of it or its id"),
    "filter-reason": ("Причина", "Reason"),
    "filter-any": ("любая", "any"),
    "filter-least": ("Ошибка вероятнее, чем", "Chance of a wrong label from"),
    "filter-all": ("все", "all"),
    "filter-batches": ("Только с похожими", "Only with look-alikes"),
    "filter-apply": ("Показать", "Show"),
    "filter-clear": ("Сбросить", "Clear"),
    "to-review": ("К проверке", "To review"),
    "decided-list": ("Решения", "Decisions"),
    "decided-none": ("Решений пока нет.", "No decisions yet."),
    "decided-back": ("К проверке", "Back to review"),
    "open-again": ("Открыть", "Open"),
    "newer": ("Новее", "Newer"),
    "older": ("Раньше", "Older"),
    # Progress.
    "left": ("осталось {n}|осталось {n}|осталось {n}", "{n} left|{n} left"),
    "by-all": ("решено {n} из {whole}", "{n} of {whole} decided"),
    "by-me": ("из них вами {n}", "{n} of them by you"),
    "pace": ("{n} в час", "{n} an hour"),
    "time-left": ("ещё примерно {time}", "about {time} to go"),
    "minutes": ("{count} мин", "{count} min"),
    "hours": ("{hours} ч", "{hours} h"),
    # Outcomes.
    "did-keep": ("оставлен в «{category}»", "kept in “{category}”"),
    "did-move": ("перенесён в «{category}»", "moved to “{category}”"),
    "did-skip": ("пропущен", "skipped"),
    "did-undo": ("отменено", "undone"),
    "said-one": ("{title}: {what}.", "{title}: {what}."),
    "said-many": (
        "{n} товар: {what}.|{n} товара: {what}.|{n} товаров: {what}.",
        "{n} product: {what}.|{n} products: {what}.",
    ),
    "said-undo": ("Отменено: {title}.", "Undone: {title}."),
    "said-undo-many": (
        "Отменено решение о {n} товаре.|Отменены решения о {n} товарах.|"
        "Отменены решения о {n} товарах.",
        "The decision on {n} product was undone.|The decisions on {n} products were undone.",
    ),
    "undo-none": (
        "Больше нечего отменять здесь; все решения — в списке «Решения».",
        "Nothing more to undo here; the list “Decisions” has all of them.",
    ),
    "conflict": (
        "Пока товар был открыт, по нему уже приняли решение.",
        "It was decided while you looked at it.",
    ),
    "conflict-who": (
        "Решение принято раньше ({who}): {what}.",
        "Already decided by {who}: {what}.",
    ),
    "conflict-keep": ("Согласиться", "Keep theirs"),
    "conflict-anyway": ("Решить по-своему", "Decide anyway"),
    "conflict-many": (
        "{n} товар уже решён другими и оставлен как есть ({who}).|"
        "{n} товара уже решены другими и оставлены как есть ({who}).|"
        "{n} товаров уже решены другими и оставлены как есть ({who}).",
        "{n} product was decided by others and stays so ({who}).|"
        "{n} products were decided by others and stay so ({who}).",
    ),
    "agreed": ("{title}: так уже решено ({who}).", "{title}: decided so already ({who})."),
    "nobody": ("без имени", "no name"),
    "done": ("Всё проверено", "All done"),
    "done-hint": (
        "Подозрительных товаров больше нет. Решения уже в хранилище и учтутся при обучении.",
        "No suspects are left. The decisions are in the store, and training takes them in.",
    ),
    "done-filter": (
        "Под этими фильтрами товаров больше нет.",
        "No more products under these filters.",
    ),
    "elsewhere": (
        "Остальные товары сейчас открыты у других проверяющих.",
        "The products that remain are on other reviewers’ screens.",
    ),
    "again": ("Посмотреть ещё раз", "Look again"),
    "gone": (
        "Этого товара в проверке больше нет: показываем следующий.",
        "That product is no longer in question; here is the next.",
    ),
    # Errors.
    "failed": (
        "Не сохранено: {reason}. Товар остался без решения.",
        "Not saved: {reason}. The product stays undecided.",
    ),
    "failed-read": ("Хранилище не читается: {reason}.", "The store can’t be read: {reason}."),
    "offline": (
        "Сервер не отвечает. Решение не сохранено; проверьте, что vitrina review запущена.",
        "The server does not answer. Nothing was saved; see that vitrina review is running.",
    ),
    "stale-page": (
        "Страница открыта до перезапуска. Обновите её; решение не сохранено.",
        "This page is from before a restart. Reload it; nothing was saved.",
    ),
    "no-such": ("Такого нет.", "There is no such thing."),
    "not-understood": ("Запрос непонятен; решение не сохранено.", "Not understood; nothing saved."),
    "need-name": ("Сначала назовите себя.", "Say who you are first."),
    # The keys.
    "key-look": ("Смотреть соседние товары, ничего не решая", "Look around without deciding"),
    "key-photo": ("Увеличить фото", "Enlarge the photo"),
    "key-batch": ("Решить похожие разом", "Decide look-alikes at once"),
    "key-help": ("Эта подсказка", "This help"),
    "key-layout": (
        "Работают в любой раскладке клавиатуры.",
        "They work in any keyboard layout.",
    ),
}
"""Phrases by key, in Russian and in English; `|` separates the forms of plurals."""
