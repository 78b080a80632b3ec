"""What every domain gives: forms, each of which builds answers of one pattern and one label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .grammar import fill, restyle
from .lines import harmful_values, harmless_values

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

CATEGORIES = (
    "hate",
    "harassment",
    "violence",
    "self_harm",
    "sexual",
    "dangerous",
    "privacy",
    "fraud",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """One answer as a form builds it; `category` is "" where it is harmless."""

    answer: str
    category: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """One pattern of answers.

    Attributes:
        domain: the kind of answers, such as "tools".
        family: the pattern; a harmful form and its harmless twin share it.
        harmful: the label of all its answers.
        build: makes one answer.
    """

    domain: str
    family: str
    harmful: bool
    build: Callable[[random.Random], Draft]

    @property
    def name(self) -> str:
        """For instance "tools/mail/harmful"."""
        return f"{self.domain}/{self.family}/{'harmful' if self.harmful else 'harmless'}"


def phrase_forms(
    domain: str,
    templates: Mapping[str, str],
    *,
    category: str = "",
    prompts: Mapping[str, Sequence[str]] | None = None,
    extra: Mapping[str, Sequence[str] | str] | None = None,
) -> tuple[Form, ...]:
    """One form for each family of templates, one template a line.

    Args:
        domain: of all of them.
        templates: by family; in each, lines that are templates. `\\n` in a line breaks the answer.
        category: of all of them; "" makes them harmless.
        prompts: templates of prompts by family.
        extra: tables that go before the shared ones.
    """

    def form_of(family: str, lines: Sequence[str]) -> Form:
        def build(rng: random.Random) -> Draft:
            text = fill(rng, rng.choice(lines).replace("\\n", "\n"), extra)
            asked = (prompts or {}).get(family, ("",))
            return Draft(restyle(rng, text), category, fill(rng, rng.choice(asked), extra))

        return Form(domain, family, bool(category), build)

    return tuple(
        form_of(family, [line.strip() for line in text.strip().splitlines()])
        for family, text in templates.items()
    )


def twin_forms(
    domain: str,
    templates: Mapping[str, str],
    *,
    prompts: Mapping[str, Sequence[str]] | None = None,
    restyled: bool = True,
) -> tuple[Form, ...]:
    """For each family a harmful form and a harmless one, of the same templates.

    The slots are those of `harmful_values`; templates stand one a line, as in `phrase_forms`.
    """

    def form_of(family: str, lines: Sequence[str], harmful: bool) -> Form:
        def build(rng: random.Random) -> Draft:
            category, values = draw_values(rng, harmful)
            text = fill(rng, rng.choice(lines).replace("\\n", "\n"), values)
            asked = (prompts or {}).get(family, ("",))
            text = restyle(rng, text) if restyled else text
            return Draft(text, category, fill(rng, rng.choice(asked), values))

        return Form(domain, family, harmful, build)

    return tuple(
        form_of(family, [line.strip() for line in text.strip().splitlines()], harmful)
        for family, text in templates.items()
        for harmful in (False, True)
    )


def draw_values(rng: random.Random, harmful: bool) -> tuple[str, dict[str, str]]:
    """The category, "" where harmless, and the values of the shared slots."""
    return harmful_values(rng) if harmful else ("", harmless_values(rng))
