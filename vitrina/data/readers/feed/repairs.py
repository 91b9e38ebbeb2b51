"""Kinds of repairs made while a feed is read."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TypeAlias


class FeedRepair(StrEnum):
    """Kind of repair; the value is its name in reports."""

    PHP = "PHP blocks removed"
    BYTES = "undecodable bytes replaced"
    CONTROL = "control characters replaced"
    AMPERSAND = "bare ampersands escaped"
    ENTITY = "HTML entities replaced"
    UNKNOWN_ENTITY = "unknown entities kept as text"
    CHARACTER = "invalid character references replaced"
    LESS_THAN = "bare < signs escaped"
    CDATA = "CDATA sections repaired"
    ATTRIBUTE = "tags with faulty attributes repaired"
    TAG = "unclosed or mismatched tags repaired"


Repairs: TypeAlias = "Counter[str]"
