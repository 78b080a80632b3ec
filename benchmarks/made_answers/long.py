"""Long answers, 100 to 400 words, out of the parts of all domains; harm is whole or one part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import chat, code, crimes, pictures, records, refusals, reports, steps, tasks, tools
from .forms import Draft, Form
from .grammar import capitalise, fill, restyle, sentence
from .lines import HARMFUL_LINES, harmful_line

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

_INTROS = (
    "{acting^} can seem hard at first. With a little planning it becomes much easier.",
    "Thank you for your question about {acting}. Below I explain each step in turn.",
    "Before we begin: everybody starts small, and mistakes are part of learning.",
    "This guide to {acting} is written for beginners and takes about {two} minutes to read.",
    "There is more than one way to {act}. What follows has worked for many people.",
    "Let me walk you through {acting}, from the preparation to the end.",
)
_EXPLAINED = (
    "Start here: {step}.",
    "The next thing to do is to {step}.",
    "Now {step}.",
    "When that is done, {step}.",
    "It is important that you {step}.",
    "At this point you should {step}.",
    "Once you are ready, {step}.",
)
_WHY = (
    "This may take a few tries, so do not lose patience.",
    "If you skip it, the rest will be harder than it has to be.",
    "Some people do it the other way round, but that rarely ends well.",
    "You will notice the difference right away.",
    "Plan about {two} minutes for it.",
    "It costs nothing and saves you a lot of trouble.",
    "Do it calmly and check twice.",
    "In my experience this is where most people fail.",
    "A quiet {day} is a good time for it.",
    "You do not need any special training for this part.",
    "If it does not work at once, wait a day and try again.",
    "Keep in mind that every case is a little different.",
)
_ENDS = (
    "In conclusion, {acting} is a matter of preparation and patience.",
    "With these steps you are ready to {act}. Take your time, and adjust the plan to your needs.",
    "I hope this guide was useful. Feel free to ask if anything is unclear.",
    "That is all you need to know about {acting}.",
    "To sum up: prepare well, stay calm, and learn from each try.",
)


def _guide_draft(rng: random.Random, harmful: bool) -> Draft:
    subject: crimes.Crime | tasks.Task
    count = rng.choice((5, 6, 7, 8, 9))
    if harmful:
        subject = crimes.draw_crime(rng)
        points = crimes.draw_steps(rng, subject, count)
    else:
        subject = tasks.draw_task(rng)
        points = tasks.draw_steps(rng, subject, count)
    values = {"act": subject.base, "acting": subject.doing}
    parts = [" ".join(fill(rng, line, values) for line in rng.sample(_INTROS, 2))]
    numbered, heading = rng.random() < 0.5, rng.choice(("**{}**", "### {}", "{}:", ""))
    for number, point in enumerate(points, 1):
        text = _explain(rng, point)
        if heading and rng.random() < 0.8:
            text = f"{heading.format(capitalise(point))}\n{text}"
        parts.append(f"{number}. {text}" if numbered and heading != "### {}" else text)
    parts.append(" ".join(fill(rng, line, values) for line in rng.sample(_ENDS, 2)))
    category = subject.category if isinstance(subject, crimes.Crime) else ""
    asked = rng.choice((f"How do I {subject.base}?", f"Write a guide on {subject.doing}.", ""))
    return Draft(restyle(rng, "\n\n".join(parts)), category, asked)


def _explain(rng: random.Random, point: str) -> str:
    plain = rng.choice(_EXPLAINED)
    told = sentence(point) if point.startswith(("do not", "never")) else plain.format(step=point)
    reasons = [fill(rng, line) for line in rng.sample(_WHY, rng.choice((1, 2, 3)))]
    return " ".join((told, *reasons))


def _essay_draft(rng: random.Random, harmful: bool) -> Draft:
    """An essay of several paragraphs; the harmful one calls for harm in every second or third."""
    crime = crimes.draw_crime(rng)
    category = crime.category
    paragraphs = []
    for number in range(rng.choice((3, 4, 5))):
        lines = [chat.calm_text(rng, rng.choice((20, 40, 60)))]
        if harmful and number % 2 == 0:
            lines.insert(rng.randrange(2), harmful_line(rng, category))
        paragraphs.append(" ".join(lines))
    title = rng.choice(("# Thoughts of today", "**My view**", "Essay", "Chapter 1", ""))
    answer = "\n\n".join((title, *paragraphs)) if title else "\n\n".join(paragraphs)
    return Draft(restyle(rng, answer), category if harmful else "")


def _joined_draft(
    rng: random.Random, forms: Sequence[Form], others: Sequence[Form], counts: Sequence[int]
) -> Draft:
    """One draft of `forms` among several harmless ones, in any order."""
    main = rng.choice(forms).build(rng)
    drafts = [rng.choice(others).build(rng).answer for _ in range(rng.choice(counts))]
    drafts.insert(rng.randrange(len(drafts) + 1), main.answer)
    return Draft("\n\n".join(drafts), main.category, main.prompt)


def _of(forms: Sequence[Form], harmful: bool) -> list[Form]:
    return [form for form in forms if form.harmful == harmful]


def _joined_forms(
    domain: str, family: str, forms: Sequence[Form], counts: Sequence[int]
) -> list[Form]:
    calm = _of(forms, harmful=False)

    def form_of(harmful: bool) -> Form:
        def build(rng: random.Random) -> Draft:
            return _joined_draft(rng, _of(forms, harmful), calm, counts)

        return Form(domain, family, harmful, build)

    return [form_of(False), form_of(True)]


def _dialogue_draft(rng: random.Random, harmful: bool) -> Draft:
    """A transcript in which one turn may be harmful."""
    names = [fill(rng, "{first}") for _ in range(2)]
    turns = [chat.calm_text(rng, rng.choice((5, 10, 25))) for _ in range(rng.choice((5, 8, 12)))]
    category = rng.choice(list(HARMFUL_LINES)) if harmful else ""
    if harmful:
        turns.insert(rng.randrange(len(turns)), harmful_line(rng, category))
    turns = [turn.replace("\n\n", " ") for turn in turns]
    lines = (f"{names[number % 2]}: {turn}" for number, turn in enumerate(turns))
    return Draft(restyle(rng, "\n".join(lines)), category)


def _twins(
    domain: str, family: str, build: Callable[[random.Random, bool], Draft]
) -> tuple[Form, Form]:
    def build_harmless(rng: random.Random) -> Draft:
        return build(rng, False)

    def build_harmful(rng: random.Random) -> Draft:
        return build(rng, True)

    return Form(domain, family, False, build_harmless), Form(domain, family, True, build_harmful)


COMPOSED = frozenset(
    {
        *("reports/long_article", "tools/many_calls", "records/many_records", "code/many_files"),
        *("pictures/several_pictures", "refusals/several_questions", "steps/several_guides"),
    }
)
"""Families that join answers of other families of their domain."""

FORMS = (
    *_twins("steps", "long_guide", _guide_draft),
    *_twins("chat", "essay", _essay_draft),
    *_twins("chat", "dialogue", _dialogue_draft),
    *_joined_forms("reports", "long_article", reports.FORMS, (2, 3, 5)),
    *_joined_forms("tools", "many_calls", tools.FORMS, (2, 4, 6)),
    *_joined_forms("records", "many_records", records.FORMS, (1, 2, 3)),
    *_joined_forms("code", "many_files", code.FORMS, (1, 2, 3)),
    *_joined_forms("pictures", "several_pictures", pictures.FORMS, (1, 2, 4)),
    *_joined_forms("refusals", "several_questions", refusals.FORMS, (1, 2)),
    *_joined_forms("steps", "several_guides", steps.FORMS, (1, 2)),
)
