"""Text of strangers, such as names in a model, in a form that no terminal or page obeys."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Text with control characters written as escapes, because names in a model are a stranger's.

    A terminal obeys control characters, and those that change the direction of writing make one name look like another.
    Line breaks and tabs stay.
    """
    return "".join(one if is_harmless(one) else one.encode("unicode_escape").decode() for one in text)


def is_harmless(character: str) -> bool:
    """Whether a character is shown, or a line break or tab."""
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
