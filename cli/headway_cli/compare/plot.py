"""Attainment against rate as one SVG file, with a band for each policy."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil
from typing import Any

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 60, 190, 30, 50
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#888888")
"""Okabe and Ito's, which the colour-blind can tell apart; then again from the first, dashed."""

_FONT = 'font-family="sans-serif" font-size="12"'

Point = tuple[float, float, float]
"""Rate, mean, half width."""


def svg(title: str, summed: Mapping[str, Any]) -> str:
    """Raises: ValueError: fewer than two rates, or nothing that was judged."""
    lines = _lines(summed)
    rates = sorted({rate for points in lines.values() for rate, _, _ in points})
    if len(rates) < 2:
        raise ValueError("a plot needs at least two rates, and an SLO to judge by")
    low, high = rates[0], rates[-1]

    def x(rate: float) -> float:
        return LEFT + (rate - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return TOP + (1 - min(1.0, max(0.0, share))) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {_FONT}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>',
    ]
    for tenth in range(0, 11, 2):
        at = y(tenth / 10)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenth * 10} %</text>'
        )
    under = HEIGHT - BOTTOM + 18
    parts += [
        f'<text x="{x(rate):.1f}" y="{under}" text-anchor="middle">{rate:g}</text>'
        for rate in _ticks(rates)
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle">requests per second</text>'
    )
    for number, (policy, points) in enumerate(lines.items()):
        parts += _drawn(number, policy, [(x(r), y(m), y(m - h), y(m + h)) for r, m, h in points])
    return "\n".join([*parts, "</svg>", ""])


def _drawn(
    number: int, policy: str, points: Sequence[tuple[float, float, float, float]]
) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    dash = ' stroke-dasharray="6 3"' if number >= len(COLOURS) else ""
    pen = f'stroke="{colour}" stroke-width="2"{dash}'
    band = [f"{px:.1f},{low:.1f}" for px, _, low, _ in points]
    band += [f"{px:.1f},{high:.1f}" for px, _, _, high in reversed(points)]
    line = " ".join(f"{px:.1f},{py:.1f}" for px, py, _, _ in points)
    at = TOP + 10 + 18 * number
    return [
        f'<polygon points="{" ".join(band)}" fill="{colour}" fill-opacity="0.15"/>',
        f'<polyline points="{line}" fill="none" {pen}/>',
        f'<line x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 32}" y1="{at}" y2="{at}" {pen}/>',
        f'<text x="{WIDTH - RIGHT + 38}" y="{at + 4}">{escape(policy)}</text>',
    ]


def _lines(summed: Mapping[str, Any]) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for row in summed["rows"]:
        found, rate = row["attainment"], row["rate_per_s"]
        if found is not None and rate is not None:
            half = found["half_width"] or 0.0
            lines.setdefault(row["policy"], []).append((rate, found["mean"], half))
    return {policy: sorted(points) for policy, points in lines.items()}


def _ticks(rates: Sequence[float]) -> Sequence[float]:
    """All of them, or every so many that about ten are left."""
    return rates[:: ceil(len(rates) / 10)]
