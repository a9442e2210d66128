"""Text that a model may have written, made fit to be read: what does not show itself becomes a code
point, look-alikes are named.

Every surface uses these. Nothing is cut, and no two texts look the same.
"""

import re
import unicodedata
from typing import Any

from configs.errors import BadInput

RUN = 40
"""The same blank or escaped character more often in a row is shown as one code point with its
count: padding hides nothing.
"""
BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\U0001d159\U00016fe4")
"""Characters that count as printable and print nothing; fillers and blanks."""
BRACKETS = frozenset("\u27e8\u2329\u3008")
"""What opens an escape, and what looks like it: a text cannot write an escape itself."""
TYPOGRAPHY = frozenset("\u2018\u2019\u201c\u201d\u2013\u2014\u2026")
"""Quotes and dashes of plain prose: like ASCII ones, and no warning."""


def visible(text: str, lines: bool = False) -> str:
    """Return text in which every character can be seen: what does not print by itself stands as its
    code point, such as ⟨U+202E⟩.

    One to one, so that two texts never look the same; a literal ⟨ is escaped too. Runs of blanks
    are counted, nothing is cut. `lines`: line feeds stay, for text of several lines; else they are
    escaped as well.
    """
    if text.isascii() and text.isprintable() and " " * (RUN + 1) not in text:
        return text  # what nearly every text is
    found, marks, kept = [], 2, "\n" if lines else ""
    for match in re.finditer(r"(.)\1*", text, re.DOTALL):
        char, count = match[1], len(match[0])
        mark = unicodedata.category(char) in ("Mn", "Mc")
        plain = char in kept or (_prints(char) and (not mark or marks + count <= 2))
        marks = marks + count if mark else 0 if unicodedata.category(char)[0] == "L" else 2
        if count > RUN and (not plain or char.isspace()):
            found.append(f"⟨U+{ord(char):04X} × {count}⟩")
        else:
            found.append(match[0] if plain else f"⟨U+{ord(char):04X}⟩" * count)
    return "".join(found)


def _prints(char: str) -> bool:
    """Tell whether a character shows itself; marks that overlay, enclose or select a variant do
    not.
    """
    category = unicodedata.category(char)
    if not char.isprintable() or char in BLANK or char in BRACKETS or category == "Me":
        return False
    return (
        category not in ("Mn", "Mc")
        or unicodedata.combining(char) > 1
        or (unicodedata.combining(char) == 0 and not _selects(char))
    )


def _selects(char: str) -> bool:
    at = ord(char)
    return (
        at == 0x034F or 0x180B <= at <= 0x180F or 0xFE00 <= at <= 0xFE0F or 0xE0100 <= at <= 0xE01EF
    )


def hidden(text: str) -> tuple[str, ...]:
    """Return the code points of a text that do not show themselves, line feeds left out."""
    return tuple(
        sorted(
            set(
                re.findall(
                    r"U\+[0-9A-F]{4,6}", "".join(re.findall("⟨[^⟩]*⟩", visible(text, lines=True)))
                )
            )
        )
    )


def confusables(text: str) -> tuple[str, ...]:
    """Return a warning for each word that looks like another one, with code points.

    A word is warned of if it mixes scripts or if it looks like ASCII throughout; text that is
    plainly of another script is not. Look-alikes by confusable-homoglyphs (Unicode TR 39); raises
    BadInput where that is not installed.
    """
    words = dict.fromkeys(
        w for w in re.findall(r"[^\s\x00-\x40\[-`{-\x7f]+", text) if not w.isascii()
    )
    alike = {word: _alike(word) for word in words}
    foreign = not re.search("[A-Za-z]", text) and any(
        len(found) < len(word) for word, found in alike.items()
    )
    told = []
    for word, found in alike.items():
        whole = len(found) + sum(c.isascii() for c in word) == len(word) and not (
            foreign and len(found) == len(word)
        )
        if found and (whole or _mixed(word)):
            points = ", ".join(
                f"U+{ord(c):04X} looks like {like}" for c, like in dict(found).items()
            )
            told.append(f"{visible(word)}: {points}")
        elif _mixed(word):
            points = ", ".join(f"U+{ord(c):04X}" for c in dict.fromkeys(word) if not c.isascii())
            told.append(f"{visible(word)}: letters of several scripts, {points}")
    return tuple(told)


def _alike(word: str) -> list[tuple[str, str]]:
    """Return (character, ASCII text that it looks like) for each such character of a word."""
    return [
        (c, like)
        for c in word
        if not c.isascii() and c not in TYPOGRAPHY and (like := _ascii_of(c))
    ]


def _ascii_of(char: str) -> str:
    same = unicodedata.normalize("NFKC", char)
    if same.isascii() and same.isalnum():
        return same
    found = _library().is_confusable(char, greedy=True) or []
    return next(
        (glyph["c"] for one in found for glyph in one["homoglyphs"] if glyph["c"].isascii()), ""
    )


def _mixed(word: str) -> bool:
    return bool(
        _library().is_mixed_script(word, allowed_aliases=["COMMON", "INHERITED"])
    ) and not _eastern(word)


def _eastern(word: str) -> bool:
    """Tell whether the scripts of a word are those that Japanese or Korean mix as a matter of
    course.
    """
    return all(
        unicodedata.name(c, "").split()[0]
        in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "KATAKANA-HIRAGANA")
        for c in word
    )


def _library() -> Any:
    try:
        from confusable_homoglyphs import confusables as library
    except ImportError:
        raise BadInput(
            "the library confusable-homoglyphs is not installed; it should be (`pip install -e"
            " '.[web]'`)"
        ) from None
    return library
