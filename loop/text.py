"""Text of a model, fit to be read: hidden characters become code points, look-alikes are named.

Every surface uses these functions. Nothing is cut, and no two texts look the same.
"""

import re
import unicodedata
from typing import Any

from configs.errors import BadInput

ROUNDING_ERROR = 1e-12
"""Largest rounding error of a sum that cancels, such as -2.8e-17."""
RUN = 40
"""The same blank or escaped character more often in a row is shown as one code point with its
count: padding hides nothing.
"""
BLANK = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffc\U0001d159\U00016fe4")
"""Characters that count as printable and print nothing; fillers and blanks."""
BRACKETS = frozenset("\u27e8\u2329\u3008")
"""The bracket that opens an escape, and its look-alikes: a text cannot write an escape itself."""
TYPOGRAPHY = frozenset("\u2018\u2019\u201c\u201d\u2013\u2014\u2026")
"""Quotes and dashes of plain prose: like ASCII ones, and no warning."""


def write_number(value: float, form: str = ".4g") -> str:
    """Return a number in a format; a rounding error is 0, and 0 has no minus."""
    text = f"{0.0 if abs(value) < ROUNDING_ERROR else value:{form}}"
    is_zero = not any(digit in text for digit in "123456789") and "0" in text
    return text.replace("-", "+" if form.startswith("+") else "") if is_zero else text


def visible(text: str, lines: bool = False) -> str:
    """Return text with every character visible; a hidden character stands as its code point.

    ⟨U+202E⟩ is an example. A literal ⟨ is escaped too, so two texts never look the same. Long runs
    of blanks are counted. With `lines`, line feeds stay; else they are escaped as well.
    """
    if text.isascii() and text.isprintable() and " " * (RUN + 1) not in text:
        return text
    parts, line_ends = [], "\n" if lines else ""
    # Two marks on a letter are an accent; more pile up over other text, and a mark alone is hidden.
    marks = 2
    for match in re.finditer(r"(.)\1*", text, re.DOTALL):
        char, count = match[1], len(match[0])
        mark = unicodedata.category(char) in ("Mn", "Mc")
        plain = char in line_ends or (_prints(char) and (not mark or marks + count <= 2))
        if mark:
            marks += count
        else:
            marks = 0 if unicodedata.category(char)[0] == "L" else 2
        if count > RUN and (not plain or char.isspace()):
            parts.append(f"⟨U+{ord(char):04X} × {count}⟩")
        else:
            parts.append(match[0] if plain else f"⟨U+{ord(char):04X}⟩" * count)
    return "".join(parts)


def _prints(char: str) -> bool:
    """Tell whether a character shows itself.

    Marks for overlaying, enclosing or selecting a variant do not.
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
    """Return the code points of a text's hidden characters, line feeds left out."""
    escapes = "".join(re.findall("⟨[^⟩]*⟩", visible(text, lines=True)))
    return tuple(sorted(set(re.findall(r"U\+[0-9A-F]{4,6}", escapes))))


def confusables(text: str) -> tuple[str, ...]:
    """Return a warning for each word with a look-alike, with code points.

    A word is warned of if it mixes scripts or if it looks like ASCII throughout; text plainly of
    another script is left alone. Look-alikes by confusable-homoglyphs (Unicode TR 39); raises
    BadInput without this package.
    """
    tokens = re.findall(r"[^\s\x00-\x40\[-`{-\x7f]+", text)
    words = dict.fromkeys(token for token in tokens if not token.isascii())
    look_alikes = {word: _alike(word) for word in words}
    partial = any(len(pairs) < len(word) for word, pairs in look_alikes.items())
    foreign = partial and not re.search("[A-Za-z]", text)
    warnings = []
    for word, pairs in look_alikes.items():
        ascii_count = sum(char.isascii() for char in word)
        whole = len(pairs) + ascii_count == len(word) and not (foreign and len(pairs) == len(word))
        if pairs and (whole or _mixed(word)):
            points = [f"U+{ord(char):04X} looks like {like}" for char, like in dict(pairs).items()]
            warnings.append(f"{visible(word)}: {', '.join(points)}")
        elif _mixed(word):
            points = [f"U+{ord(char):04X}" for char in dict.fromkeys(word) if not char.isascii()]
            warnings.append(f"{visible(word)}: letters of several scripts, {', '.join(points)}")
    return tuple(warnings)


def _alike(word: str) -> list[tuple[str, str]]:
    """Return (character, ASCII look-alike) for each such character of a word."""
    return [
        (c, like)
        for c in word
        if not c.isascii() and c not in TYPOGRAPHY and (like := _ascii_of(c))
    ]


def _ascii_of(char: str) -> str:
    same = unicodedata.normalize("NFKC", char)
    if same.isascii() and same.isalnum():
        return same
    for match in _library().is_confusable(char, greedy=True) or []:
        for glyph in match["homoglyphs"]:
            if glyph["c"].isascii():
                return str(glyph["c"])
    return ""


def _mixed(word: str) -> bool:
    return bool(
        _library().is_mixed_script(word, allowed_aliases=["COMMON", "INHERITED"])
    ) and not _eastern(word)


def _eastern(word: str) -> bool:
    """Tell whether Japanese or Korean mix the scripts of a word as a matter of course."""
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
