"""How each method looks in every figure: one colour, one line, one place in the order.

The colours are Okabe and Ito's, which the colour-blind tell apart; lines differ in their dashes
too, for grey print. The truth is black and thick, and always first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

TRUTH = "truth"

OPEN = "_open"
"""Ends the name of a method's rain before it was closed."""


@dataclass(frozen=True)
class Style:
    """A method's look: colour (hex), matplotlib's dashes and marker, width in points."""

    colour: str
    dashes: str | tuple[int, tuple[float, ...]] = "-"
    marker: str = "o"
    width: float = 1.6

    @property
    def line(self) -> dict[str, Any]:
        """What ``Axes.plot`` takes."""
        return {"color": self.colour, "linestyle": self.dashes, "linewidth": self.width}


_KNOWN = {
    TRUTH: Style("#000000", width=2.4, marker="s"),
    "conditional": Style("#0072B2", width=2.0),
    "unconditional": Style("#D55E00", dashes="--", marker="^"),
    "prior": Style("#7A4A00", dashes=(0, (6, 2)), marker="X"),
    "trilinear": Style("#009E73", dashes="-.", marker="D"),
    "analogue": Style("#CC79A7", dashes=(0, (4, 1, 1, 1, 1, 1)), marker="v"),
    "reconstruction": Style("#7A7A7A", dashes=":", marker="P"),
}
_OTHERS = (
    Style("#E69F00", dashes=(0, (8, 2)), marker="p"),
    Style("#56B4E9", dashes=(0, (2, 1)), marker="<"),
    Style("#C21E56", dashes=(0, (1, 1)), marker=">"),
    Style("#5E3C99", dashes=(0, (5, 1, 1, 1)), marker="h"),
)


def styles(names: Iterable[str]) -> Mapping[str, Style]:
    """The look of each of these methods, in the order in which they are shown.

    Those known come first, in a fixed order, each with its kin (``conditional_open``), which
    have its colour, paler; others follow by name, whatever order they came in.

    >>> list(styles(["trilinear", "mine", "conditional_open", "conditional", "truth"]))
    ['truth', 'conditional', 'conditional_open', 'trilinear', 'mine']
    """
    left = set(names)
    found = {}
    for known, style in _KNOWN.items():
        for name in sorted(name for name in left if _kin(name, known)):
            found[name] = style if name == known else _paler(style)
            left.remove(name)
    for place, name in enumerate(sorted(left)):
        found[name] = _OTHERS[place % len(_OTHERS)]
    return found


def label(name: str) -> str:
    """A method's name for readers.

    >>> label("conditional_open")
    'conditional, not closed'
    """
    closed = name.removesuffix(OPEN)
    return closed.replace("_", " ") + (", not closed" if closed != name else "")


def _kin(name: str, known: str) -> bool:
    """Whether a name is the known one, perhaps with something said about it."""
    return name.startswith(known) and not name[len(known) :][:1].isalnum()


def _paler(style: Style) -> Style:
    parts = (int(style.colour[i : i + 2], 16) for i in (1, 3, 5))
    pale = "".join(f"{round(part + (255 - part) * 0.45):02x}" for part in parts)
    return replace(style, colour=f"#{pale}", dashes=":")
