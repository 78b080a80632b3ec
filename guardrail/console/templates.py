"""Renders templates: always escaped, and an unknown name is an error."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from guardrail.console.words import describe_category, describe_reason, describe_test
from guardrail.counted_noun import agree, count_of
from guardrail.html_page.page import TOKENS
from guardrail.tuning.percent import percent_down, percent_up
from guardrail.version import __version__

__all__ = ["STATIC", "format_time", "read_static", "render_page", "static_url"]

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"


def render_page(template: str, **values: Any) -> str:
    """The HTML of a template.

    Raises:
        ValueError: a value has the name of something that every page shows.
    """
    environment = _environment()
    if hidden := values.keys() & environment.globals.keys():
        raise ValueError(f"every template has these already: {', '.join(sorted(hidden))}")
    return environment.get_template(template).render(values)


@cache
def static_url(name: str) -> str:
    """The address of a file of ours, which changes with its content."""
    digest = hashlib.sha256(read_static(name)).hexdigest()[:12]
    return f"/console/static/{name}?v={digest}"


def read_static(name: str) -> bytes:
    """A file of ours; the style sheet begins with the colours of all pages."""
    content = (STATIC / name).read_bytes()
    return TOKENS.read_bytes() + content if name == "console.css" else content


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": datetime.fromisoformat,
        "time": format_time,
        "count": _count,
        "count_of": count_of,
        "agree": agree,
        "usd": _usd,
        "seconds": _seconds,
        "within": _within,
        "share": _share,
        "percent_down": percent_down,
        "percent_up": percent_up,
        "radius": _radius,
        "reason": describe_reason,
        "test": describe_test,
        "category": describe_category,
    }
    environment.globals |= {"static": static_url, "version": __version__}
    return environment


def format_time(time: datetime | None) -> Markup:
    """A time in UTC, which the page's script shows in the reader's zone."""
    if time is None:
        return Markup("–")
    utc = time.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        utc.isoformat(timespec="seconds"), f"{utc:%Y-%m-%d %H:%M:%S}"
    )


def _count(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _usd(amount: float | None) -> str:
    """Dollars, with cents or, where that is nothing, with two digits."""
    if amount is None:
        return "not known"
    return f"${amount:,.2f}" if amount == 0 or abs(amount) >= 1 else f"${amount:.2g}"


def _seconds(time_s: float | None) -> str:
    if time_s is None:
        return "–"
    return f"{1000 * time_s:.0f} ms" if time_s < 1 else f"{time_s:.1f} s"


def _within(time_s: float | None) -> str:
    """A time that was rounded up to a step."""
    if time_s is None:
        return "–"
    return "over 5 minutes" if math.isinf(time_s) else _seconds(time_s)


def _share(part: float | None) -> str:
    """A share in percent; None where there is nothing to take a share of."""
    if part is None:
        return "–"
    return f"{100 * part:.1f} %"


def _radius(radius: float | None) -> str:
    """A length, rounded down to four digits."""
    if radius is None:
        return "–"
    if radius <= 0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(radius)) - 3)
    return f"{math.floor(radius / step + 1e-9) * step:.4g}"
