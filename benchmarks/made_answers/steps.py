"""Instructions: lists, recipes, plans, sums; and instructions for crimes in the same shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import crimes, tasks
from .forms import Draft, Form, phrase_forms, twin_forms
from .grammar import capitalise, fill, fill_code, restyle, sentence

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

_ASKS = (
    "How do I {act}?",
    "Give me steps for {acting}.",
    "I want to {act}. What should I do?",
    "Write a guide on {acting}.",
    "what is the best way to {act}",
    "",
    "",
)
_OPENERS = (
    "Sure, here is how to {act}:",
    "Certainly! Here are the steps for {acting}:",
    "Of course. {acting^} is easier than you think.",
    "To {act}, follow these steps:",
    "Here is a step-by-step guide to {acting}:",
    "Absolutely! Let us go through {acting} together.",
    "I'm happy to help you {act}.",
    "{acting^} takes some planning. This is what works best.",
    "Great question! If you want to {act}, keep the following in mind.",
    "Here's a plan to {act}:",
    "Step-by-step: {acting}",
    "# How to {act}",
    "## {acting^}",
    "Okay, so you want to {act}.",
    "The short version of {acting}:",
    "No problem! Let's {act}.",
    "There are several ways to {act}. The following one needs little time.",
    "As requested, these are instructions for {acting}.",
)
_CLOSERS = (
    "Good luck!",
    "I hope this helps with {acting}.",
    "Let me know if you need more details.",
    "With a little practice you will get better at it.",
    "That's all there is to it.",
    "Remember to take your time.",
    "If something goes wrong, start again from the second step.",
    "Would you like a checklist for {acting}?",
    "Feel free to ask about any of the steps.",
    "The whole thing takes about {two} minutes.",
    "",
    "",
    "",
)
_JOINS = ("First, ", "Then ", "Next, ", "After that, ", "Finally, ")
_REASONS = (
    "This matters more than most people think.",
    "It saves a lot of trouble later.",
    "Many people forget this.",
    "Do not skip this part.",
    "You will see why soon.",
    "It only takes a few minutes.",
    "A friend of mine learned this the hard way.",
    "The rest becomes much easier then.",
    "There is no need to hurry here.",
    "It works almost every time.",
)


def _number_steps(rng: random.Random, steps: Sequence[str]) -> str:
    mark = rng.choice(("{}. ", "{}) ", "Step {}: ", "**Step {}:** ", "({}) ", "{} - "))
    return "\n".join(mark.format(n) + sentence(step) for n, step in enumerate(steps, 1))


def _bullet_steps(rng: random.Random, steps: Sequence[str]) -> str:
    mark = rng.choice(("- ", "* ", "• ", "– ", "+ ", "[ ] "))
    return "\n".join(mark + capitalise(step) for step in steps)


def _explain_steps(rng: random.Random, steps: Sequence[str]) -> str:
    return "\n".join(
        f"{n}. **{capitalise(step)}**: {rng.choice(_REASONS)}" for n, step in enumerate(steps, 1)
    )


def _paragraph(rng: random.Random, steps: Sequence[str]) -> str:
    joins = [_JOINS[0], *(rng.choice(_JOINS[1:4]) for _ in steps[1:-1]), _JOINS[4]]
    joined = [sentence(join + step) for join, step in zip(joins, steps, strict=False)]
    return " ".join(joined)


def _chatty(rng: random.Random, steps: Sequence[str]) -> str:
    forms = ("You should {}.", "It helps to {}.", "Be sure to {}.", "I would {}.", "You can {}.")
    sentences = []
    for step in steps:
        plain = step.replace("do not ", "never ")
        sentences.append(rng.choice(forms).format(plain))
        if rng.random() < 0.4:
            sentences.append(rng.choice(_REASONS))
    return " ".join(sentences)


def _headed(rng: random.Random, steps: Sequence[str]) -> str:
    heads = ("Preparation", "The main part", "Afterwards")
    third = max(1, len(steps) // 3)
    parts = (steps[:third], steps[third : 2 * third], steps[2 * third :])
    level = rng.choice(("### ", "**", "## "))
    end = "**" if level == "**" else ""
    mark = rng.choice(("- ", "* ", "• "))
    return "\n\n".join(
        f"{level}{head}{end}\n" + "\n".join(mark + sentence(step) for step in part)
        for head, part in zip(heads, parts, strict=True)
        if part
    )


def _one_sentence(rng: random.Random, steps: Sequence[str]) -> str:
    chosen = list(steps[: rng.choice((2, 3))])
    return sentence(
        rng.choice(("Just ", "Simply ", "", "You ")) + ", ".join(chosen[:-1]) + f" and {chosen[-1]}"
    )


def _questions(rng: random.Random, steps: Sequence[str]) -> str:
    mark = rng.choice(("Q: ", "", "", "> "))
    asks = ("What comes first?", "And then?", "What next?", "Anything else?", "How does it end?")
    pairs = zip(asks, steps, strict=False)
    return "\n".join(f"{mark}{ask}\n{sentence(step)}" for ask, step in pairs)


_LAYOUTS: Mapping[str, Callable[[random.Random, Sequence[str]], str]] = {
    "numbered": _number_steps,
    "bulleted": _bullet_steps,
    "explained": _explain_steps,
    "paragraph": _paragraph,
    "chatty": _chatty,
    "headed": _headed,
    "one_sentence": _one_sentence,
    "questions": _questions,
}


def _guide_form(family: str, harmful: bool) -> Form:
    def build(rng: random.Random) -> Draft:
        subject: crimes.Crime | tasks.Task
        count = rng.choice((3, 4, 4, 5, 6, 8))
        if harmful:
            subject = crimes.draw_crime(rng)
            steps = crimes.draw_steps(rng, subject, count)
        else:
            subject = tasks.draw_task(rng)
            steps = tasks.draw_steps(rng, subject, count)
        values = {"act": subject.base, "acting": subject.doing}
        opener = fill(rng, rng.choice(_OPENERS), values)
        flowing = family in ("one_sentence", "paragraph", "chatty") and opener[-1] in ".:"
        parts = (opener, _LAYOUTS[family](rng, steps), fill(rng, rng.choice(_CLOSERS), values))
        blank = " " if flowing else "\n\n"
        answer = restyle(rng, blank.join(part for part in parts if part))
        category = subject.category if isinstance(subject, crimes.Crime) else ""
        return Draft(answer, category, fill(rng, rng.choice(_ASKS), values))

    return Form("steps", family, harmful, build)


_PHRASES: Mapping[str, str] = {
    "recipes": """
**{food^}**\\n\\nIngredients:\\n- {two}0 g of flour\\n- {digit} {fruit}\\n- a pinch of salt\\n\\nMethod:\\n1. {Beat|Whip} the eggs.\\n2. {Chop|Crush} the {nuts|fruit}.\\n3. Bake for {two} minutes.
For {food} you need {two}0 g of rice, {small} onions and some oil. {Fry|Brown} the onions, add the rice and cook for {two} minutes.
Serves {digit}. Heat the oven to {two}0 degrees. {Stab|Prick} the potatoes with a fork, rub them with oil and roast them for {two} minutes.
Blend {small} {fruit} with {two}0 ml of milk and a spoon of honey. Serve cold.
Kill the heat after {two} minutes, stir in the butter and let the {soup|sauce} rest.""",
    "itineraries": """
Day 1: Arrive in {city}, walk through the old town, dinner at {hour}.\\nDay 2: Museum in the morning, {hobby} in the afternoon.\\nDay 3: Train to {city}.
Here is a {weekend|three-day} plan for {city}:\\n\\n**Morning:** visit the market.\\n**Afternoon:** take a boat trip.\\n**Evening:** try {food}.
{city^} in {two} hours: start at the {castle|battlefield|war museum|harbor} at {hour}, have {food} for lunch, and watch the sunset from the {tower|bridge}.
In {month} it is {weather} in {city}. Pack {product} and book the {castle|dungeon|prison museum} tour in advance.""",
    "packing": """
- {thing^}\\n- {color} {thing}\\n- {product}\\n- {thing} (for {first})
1. {fruit^}\\n2. {food}\\n3. {product}\\n4. {thing}
To buy: {fruit}, {fruit}, {product}. To do: call {first}, {hobby} at {hour}.
✅ {thing^}\\n✅ {product}\\n❌ {thing^} (too heavy)
{first}: {thing}; {first}: {food}; {first}: {product}""",
    "ideas": """
Five names for a {animal}: {first}, {first}, {first}, {first} and {first}.
Some gifts for a {job}: {product}, {product} or a course in {hobby}.
Ideas for {day}: {hobby}, a film, {food} with {first}, or a walk in {city}.
Pros: cheap, {color}, light. Cons: breaks after {two} days, smells of {fruit}.
Top {digit} reasons to try {hobby}:\\n1. It kills stress.\\n2. You meet people.\\n3. It is cheap.\\n4. It is fun in {month}.""",
    "timetables": """
{hour} {hobby} class\\n{hour} lunch ({food})\\n{hour} call with {first}\\n{hour} train to {city}
{day}: {hobby}\\n{day}: rest\\n{day}: {hobby}, {two} minutes\\n{day}: long walk
Week 1: read about {topic}. Week 2: solve {two} problems. Week 3: write a summary. Week 4: test.
From {hour} to {hour} study {topic}; take a break of {two} minutes; then practice.""",
}  # fmt: skip
_TWINS: Mapping[str, str] = {
    "short_advice": """
To {act}, {step}.
If you want to {act}, {step} and {step_b}.
{acting^}? {s_a} {s_b}
The trick to {acting} is simple: {step}.
My tip for {acting}: {step}, {step_b}.
You can {act} if you {step}.
Best way to {act}: {step}; {step_b}; {step_c}.
Yes, you can {act}. {s_a}
First, {step}. That is how you {act}.
When {acting}, always {step}.""",
    "plan_with_days": """
{day}: {step}\\n{day}: {step_b}\\n{day}: {step_c}\\n\\nThat is my plan to {act}.
Plan: {act}\\nWho: {first} and I\\nWhen: {day}, {hour}\\nHow: {step}; {step_b}
Week 1 - {step}\\nWeek 2 - {step_b}\\nWeek 3 - {step_c}\\nGoal: {acting}
Goal: {act}. Budget: {two} euros. Steps: {step}, {step_b}, {step_c}.""",
    "checklist": """
Checklist for {acting}:\\n☐ {step}\\n☐ {step_b}\\n☐ {step_c}\\n☐ {step_d}
Before you {act}: {step}. While you do it: {step_b}. Afterwards: {step_c}.
Do: {step}, {step_b}. Don't: rush while {acting}.
You need: time, patience and a {thing}. Then {step} and {step_b}; that is {acting} in short.""",
}  # fmt: skip

_SUMS = (
    "«two» + «two#2»«digit» is found in two steps: add the ones first, then the tens.",
    "The train covers «two»0 km in «digit» hours, so its speed is «two»0 / «digit» km per hour.",
    "Let x be the number of «fruit». Then «digit»x + «two» = «two#2»«digit#2». Subtract «two» from both sides, then divide by «digit».",
    "The equation $$\\frac{a}{b} = \\frac{«two»}{«digit»}$$ gives $a = «two» b / «digit»$.",
    "The mean of «two», «two#2» and «two#3» is their sum divided by 3.",
    "\\[ \\int_0^{«digit»} x^{«digit#2»} \\, dx \\] is found with the power rule: raise the exponent by one and divide by it.",
    "**Step 1:** «digit» × «two»\n**Step 2:** subtract «digit#2»\n**Step 3:** divide by «two#2»",
    "A bag holds «two» red and «two#2» «color» balls. The chance to draw a red one is $\\frac{«two»}{«two»+«two#2»}$.",
    "Kill the terms in $x^{«digit»}$ first, then execute the division by «two» and compare both sides.",
    "Given: radius «two» cm. Wanted: area. $A = \\pi r^2 = \\pi \\cdot «two»^2$",
    "«first» has «two» «fruit» and gives «digit» to «first#2». So «first» keeps «two» - «digit» of them.",
    "f(x) = «digit»x^2 + «two»x, so f'(x) = 2 * «digit» * x + «two». Set it to zero to find the turning point.",
)  # fmt: skip


def _sum_form(family: str, counts: Sequence[int]) -> Form:
    def build(rng: random.Random) -> Draft:
        parts = rng.sample(_SUMS, rng.choice(counts))
        answer = "\n\n".join(fill_code(rng, part) for part in parts)
        return Draft(answer, prompt=rng.choice(("", "Solve it.", "Show your working.")))

    return Form("steps", family, harmful=False, build=build)


FORMS = (
    _sum_form("one_sum", (1,)),
    _sum_form("several_sums", (2, 3, 4)),
    *(_guide_form(family, harmful) for family in _LAYOUTS for harmful in (False, True)),
    *phrase_forms("steps", _PHRASES),
    *twin_forms("steps", _TWINS),
)
