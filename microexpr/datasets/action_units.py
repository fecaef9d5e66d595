"""Action units as coders typed them: ``4+L10``, ``(R6 or R12)+R15``, ``7B+ ref(43)``, ``14+17+soft focus``.

Facial Action Coding System (Ekman, Friesen and Hager 2002): a number, before it the side or the part of the face, after
it the intensity.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNIT = re.compile(r"(?:AU)?\s*((?:[LRABTU](?:/[LRABTU])?)?)\s*(\d{1,2})\s*([A-E]?)(?:/([A-E]))?", re.IGNORECASE)
BETWEEN = re.compile(r"[+,;，＋]|\band\b", re.IGNORECASE)  # noqa: RUF001 - full-width signs occur in the tables
OR = re.compile(r"\bor\b", re.IGNORECASE)


@dataclass(frozen=True)
class ActionUnit:
    """One action unit.

    Attributes:
        number: of the FACS manual, 1 to 99.
        side: as typed: L left, R right, and the letters A, B, T, U; two with a slash; empty where none is given.
        intensity: A (trace) to E (maximum), or two with a slash; empty where none is given.
    """

    number: int
    side: str = ""
    intensity: str = ""

    def __str__(self) -> str:
        return f"{self.side}{self.number}{self.intensity}"


@dataclass(frozen=True)
class ActionUnits:
    """A coded expression.

    Attributes:
        groups: all of which were seen; of the units within a group one was, and the coder was not sure which.
        rest: what is no action unit, as typed: ``?``, ``soft focus``, ``ref(43)``.
    """

    groups: tuple[tuple[ActionUnit, ...], ...]
    rest: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """A text for each group, which `parse` reads again: ``("4", "L10")``, ``("R6 or R12", "R15")``."""
        return tuple(" or ".join(map(str, group)) for group in self.groups)

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers of all units, without sides, and of every alternative."""
        return frozenset(unit.number for group in self.groups for unit in group)


def parse(text: object) -> ActionUnits:
    """Action units from a cell: a number, text, or nothing.

    ``A``, ``B`` and ``T`` before a number stay letters: the tables use them without saying what they mean. What can't
    be read is kept in `ActionUnits.rest`, never dropped.
    """
    if text is None:
        return ActionUnits(())
    typed = str(int(text)) if isinstance(text, float) and text.is_integer() else str(text)
    groups: list[tuple[ActionUnit, ...]] = []
    rest: list[str] = []
    for part in _parts(typed):
        units = [_unit(one) for one in OR.split(_bare(part))]
        if units and all(units):
            groups.append(tuple(unit for unit in units if unit is not None))
        elif part.strip():
            rest.append(part.strip())
    return ActionUnits(tuple(groups), tuple(rest))


def _parts(text: str) -> list[str]:
    """The text between plus signs and commas, but not inside brackets."""
    parts, depth, start = [], 0, 0
    for match in re.finditer(rf"[()]|{BETWEEN.pattern}", text, re.IGNORECASE):
        if match[0] in "()":
            depth = max(0, depth + (1 if match[0] == "(" else -1))
        elif depth == 0:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _bare(part: str) -> str:
    """The part without brackets around the whole of it."""
    part = part.strip()
    return part[1:-1] if part.startswith("(") and part.endswith(")") and "(" not in part[1:] else part


def _unit(text: str) -> ActionUnit | None:
    match = UNIT.fullmatch(text.strip())
    if match is None or int(match[2]) == 0:
        return None
    intensity = match[3].upper() + (f"/{match[4].upper()}" if match[4] else "")
    return ActionUnit(int(match[2]), match[1].upper(), intensity)
