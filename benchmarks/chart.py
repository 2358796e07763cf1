"""The results as a chart: an SVG of bars, one panel a scenario, that suits light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from benchmarks.result import Results
from benchmarks.table import significant

_WIDTH, _LABELS, _VALUES = 860, 250, 190  # pixels: all, names on the left, figures on the right
_BAR, _GAP, _TITLE, _SPACE = 18, 6, 34, 18
_LEGEND = (
    "In brackets: times django-celery-email's best. ASCII texts; mailqueue with its own classes, "
    "without Django, unless it says so."
)
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .figure { fill: #57606a }
  .bar { fill: #8c959f }
  .ours { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .figure { fill: #9198a1 }
    .bar { fill: #6e7681 }
    .ours { fill: #4493f8 }
  }
"""


def chart(results: Results, titles: Mapping[str, str]) -> str:
    """The whole picture."""
    panels: list[str] = []
    top = 0
    for scenario in results.scenarios():
        panels += _panel(results, scenario, titles[scenario].replace("`", ""), top)
        top += _height(results, scenario)
    height = top + _SPACE
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
            f' viewBox="0 0 {_WIDTH} {height}" role="img"'
            ' aria-label="Messages a second, by scenario and library">',
            f"<style>{_STYLE}</style>",
            *panels,
            f'<text class="figure" x="0" y="{top + 14}">{_LEGEND}</text>',
            "</svg>\n",
        ]
    )


def _height(results: Results, scenario: str) -> int:
    return _TITLE + len(results.contenders(scenario)) * (_BAR + _GAP) + _SPACE


def _panel(results: Results, scenario: str, title: str, top: int) -> Iterator[str]:
    names = results.contenders(scenario)
    rates = {name: results.median(scenario, name, "rate") for name in names}
    yield f'<text class="title" x="0" y="{top + 20}">{escape(title)}: messages/s</text>'
    for number, name in enumerate(names):
        y = top + _TITLE + number * (_BAR + _GAP)
        length = max(1.0, rates[name] / max(rates.values()) * (_WIDTH - _LABELS - _VALUES))
        kind = "bar ours" if name.startswith("mailqueue") else "bar"
        text = f'y="{y + 13}"'
        yield f'<text x="{_LABELS - 8}" {text} text-anchor="end">{escape(name)}</text>'
        yield (
            f'<rect class="{kind}" x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR}"'
            ' rx="2"/>'
        )
        figure = f'x="{_LABELS + length + 8:.1f}" {text}'
        yield f'<text class="figure" {figure}>{_figure(results, scenario, name)}</text>'


def _figure(results: Results, scenario: str, name: str) -> str:
    rate = significant(results.median(scenario, name, "rate"))
    ratio = results.ratio_to_peer(scenario, name)
    return rate if ratio is None else f"{rate} ({significant(ratio)} times)"
