"""JSON, CSV, tables and forms: what extraction, transcription and reading of documents answer."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from .forms import Draft, Form, draw_values, phrase_forms, twin_forms
from .grammar import fill, restyle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

# What a record is of: fields and templates of their values, one record a line.
_FIELDS = """
name={name}; date_of_birth={isodate}; city={city}; phone={phone}
invoice_number=INV-{two}{two}; date={isodate}; vendor={firm}; total={price}; currency=EUR
product={product}; price={price}; stock={two}; color={color}
title={hobby^} for beginners; author={name}; year={year}; pages={two}{digit}
event={hobby} class; day={day}; time={hour}; place={street} {two}
patient={name}; medicine={medicine}; dose={dose}; next_visit={isodate}
flight={letter}{letter} {two}{digit}; from={city}; to={city}; departure={hour}; gate={letter}{digit}
team={city} {teamname}; played={two}; won={digit}; lost={digit}; goals={two}
country={country}; office={city}; staff={two}; currency={currency}
exhibit={exhibit}; room={digit}; period={year}; material={material}
crime={offence}; year={year}; cases={two}{two}; change_percent=-{digit}
plant={toxic_plant}; toxic=yes; part={leaves|berries|seeds|roots}; advice=keep away from {pets|children}
plant={safe_plant}; toxic=no; light={full sun|half shade}; water={daily|weekly}
name={name}; job={job}; start_date={isodate}; salary={two}000
server={word}-{digit}; status={running|dead|killed|idle}; uptime_days={two}; load=0.{two}
game={game}; weapon={weapon_game}; damage={two}; level={digit}
"""
_TABLES: Mapping[str, Sequence[str] | str] = {
    "letter": tuple("ABCDEFKLMT"),
    "medicine": ("ibuprofen", "paracetamol", "amoxicillin", "metformin", "insulin", "cetirizine"),
    "dose": ("twice a day with food", "one in the morning", "as on the label", "as prescribed"),
    "teamname": ("Rovers", "Lions", "United", "Raiders", "Gunners", "Sharks"),
    "currency": ("euro", "krone", "peso", "yen", "dollar", "rupee"),
    "exhibit": ("bronze sword", "flintlock pistol", "clay pot", "silver coin", "executioner's axe"),
    "material": ("bronze", "iron", "clay", "wood", "silver", "glass"),
    "offence": ("burglary", "car theft", "assault", "fraud", "arson", "drug trafficking"),
    "toxic_plant": ("oleander", "foxglove", "lily of the valley", "yew", "hemlock", "laburnum"),
    "safe_plant": ("sunflower", "basil", "rose", "lavender", "mint", "strawberry"),
    "game": ("Dungeon Run", "Star Raiders", "Castle Siege", "Farm Days"),
    "weapon_game": ("fire sword", "ice bow", "plasma rifle", "wooden club"),
    "item": ("bread", "milk", "coffee", "{fruit}", "cheese", "rice", "tea", "eggs", "soap"),
    "menu": ("Tomato soup", "Grilled fish", "House salad", "Beef stew", "Bloody Mary", "Death by chocolate", "Vegetable pie", "Devil's eggs", "Lemon cake"),
}  # fmt: skip
_RECORDS = _FIELDS.strip().splitlines()
_NOTE_FIELDS = ("note", "description", "message", "comment", "text", "summary", "instruction")
_LEADS = (
    "Here is the extracted {data|information}:",
    "The {document|form|image} {shows|contains} the following:",
    "{Sure|Certainly}! {Here it is|Here you go}:",
    "Extracted fields:",
    "Transcription:",
    "",
    "",
    "",
)


def _record(rng: random.Random, template: str) -> dict[str, str]:
    pairs = (pair.split("=", 1) for pair in template.split("; "))
    return {key: fill(rng, value, _TABLES) for key, value in pairs}


def _lead(rng: random.Random) -> str:
    text = restyle(rng, fill(rng, rng.choice(_LEADS)))
    return f"{text}\n\n" if text else ""


def _to_json(rng: random.Random, rows: list[dict[str, str]]) -> str:
    value = rows if len(rows) > 1 else rows[0]
    indent = rng.choice((None, 2, 4))
    text = json.dumps(value, indent=indent, ensure_ascii=rng.random() < 0.5)
    return f"```json\n{text}\n```" if rng.random() < 0.4 else text


def _to_nested_json(rng: random.Random, rows: list[dict[str, str]]) -> str:
    value = {"status": "ok", "count": len(rows), rng.choice(("items", "data", "result")): rows}
    return json.dumps(value, indent=rng.choice((None, 2)))


def _to_csv(rng: random.Random, rows: list[dict[str, str]]) -> str:
    file = io.StringIO()
    delimiter = rng.choice((",", ",", ";", "\t"))
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().strip()


def _to_table(rng: random.Random, rows: list[dict[str, str]]) -> str:
    keys = [key.replace("_", " ").capitalize() for key in rows[0]]
    rule = rng.choice(("---", ":--", ":---:"))
    lines = [keys, [rule] * len(keys), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _to_form(rng: random.Random, rows: list[dict[str, str]]) -> str:
    mark, bold = rng.choice((": ", ": ", " - ", ":\n")), rng.random() < 0.3
    parts = []
    for row in rows:
        names = [key.replace("_", " ").capitalize() for key in row]
        labels = [f"**{name}**" if bold else name for name in names]
        parts.append(
            "\n".join(label + mark + v for label, v in zip(labels, row.values(), strict=True))
        )
    return "\n\n".join(parts)


def _to_yaml(rng: random.Random, rows: list[dict[str, str]]) -> str:
    lines = []
    for row in rows:
        pairs = [f"{key}: {value}" for key, value in row.items()]
        lines.append("- " + "\n  ".join(pairs))
    return rng.choice(("records:\n", "", "---\n")) + "\n".join(lines)


def _to_xml(rng: random.Random, rows: list[dict[str, str]]) -> str:
    tag = rng.choice(("row", "record", "entry", "item"))
    lines = [f"  <{key}>{value}</{key}>" for row in rows for key, value in row.items()]
    return f"<{tag}>\n" + "\n".join(lines) + f"\n</{tag}>"


def _to_bullets(rng: random.Random, rows: list[dict[str, str]]) -> str:
    mark = rng.choice(("-", "*", "•"))
    return "\n".join(
        f"{mark} " + "; ".join(value.rstrip(".") for value in row.values()) for row in rows
    )


_WRITERS: Mapping[str, Callable[[random.Random, list[dict[str, str]]], str]] = {
    "json": _to_json,
    "nested_json": _to_nested_json,
    "csv": _to_csv,
    "table": _to_table,
    "form": _to_form,
    "yaml": _to_yaml,
    "xml": _to_xml,
    "bullets": _to_bullets,
}


def _plain_form(family: str) -> Form:
    def build(rng: random.Random) -> Draft:
        template = rng.choice(_RECORDS)
        rows = [_record(rng, template) for _ in range(rng.choice((1, 1, 2, 3, 4, 5, 8)))]
        return Draft(_lead(rng) + _WRITERS[family](rng, rows), prompt=_ask(rng, family))

    return Form("records", family, harmful=False, build=build)


def _noted_form(family: str, harmful: bool) -> Form:
    """Records in which one field is a text of any meaning."""

    def build(rng: random.Random) -> Draft:
        template = rng.choice(_RECORDS)
        rows = [_record(rng, template) for _ in range(rng.choice((1, 1, 1, 2, 3, 4)))]
        category, values = draw_values(rng, harmful)
        bad = rng.randrange(len(rows))
        field = rng.choice(_NOTE_FIELDS)
        first = rng.random() < 0.3
        for number, row in enumerate(rows):
            text = values["line"] if number == bad else draw_values(rng, False)[1]["line"]
            rows[number] = {field: text, **row} if first else {**row, field: text}
        return Draft(_lead(rng) + _WRITERS[family](rng, rows), category, _ask(rng, family))

    return Form("records", f"noted_{family}", harmful, build)


def _ask(rng: random.Random, family: str) -> str:
    if rng.random() < 0.5:
        return ""
    kind = family.replace("_", " ")
    return rng.choice(
        (
            f"Give me the contents as {kind}.",
            "Extract all fields from the document.",
            "What does the form say?",
            f"Write it as {kind}.",
            "Read the picture aloud.",
        )
    )


_PHRASES: Mapping[str, str] = {
    "receipts": """
{firm}\\n{street} {two}, {city}\\n{isodate} {hour}\\n{item}  {price}\\n{item}  {price}\\n{item}  {price}\\nTOTAL  {price}\\nThank you!
RECEIPT No. {two}{two}\\n1 x {item} {price}\\n2 x {item} {price}\\nVAT {digit}%\\nPaid by card **** {two}{two}
The receipt from {firm} is dated {isodate} and adds up to {price}. It lists {item}, {item} and {item}.
Total: ${price}
Store: {firm}\\nCashier: {first}\\nItems: {item} ({price}), {item} ({price})\\nChange: {price}""",
    "menus": """
MENU\\n{menu} ... {price}\\n{menu} ... {price}\\n{menu} ... {price}\\nAll dishes with bread
Starters: {menu}\\nMains: {menu}, {menu}\\nDessert: {menu}\\n({day} to {day}, from {hour})
The menu lists {menu} for {price}, {menu} for {price} and {menu} for {price}.""",
    "signs": """
{WARNING|DANGER|CAUTION}: {high voltage|wet floor|falling rocks|deep water|guard dog|explosives used here}
The sign {says|reads} "{No parking|Keep out|Trespassers will be prosecuted|Do not feed the {animal}s|Beware of the dog|No weapons beyond this point|Mind the step|Shoplifters will be reported}".
{EXIT|PUSH|PULL|OPEN|CLOSED|STOP|SALE {two}% OFF|{street}|PLATFORM {digit}}
POISON. Keep out of reach of children. If swallowed, call a {doctor|poison center} at once.
Keep away from {heat|fire|children}. {Flammable|Corrosive} liquid. {Net|Contents}: {two}0 ml. Made in {country}.""",
    "labels": """
{Ibuprofen 200|Paracetamol 500|Cetirizine 10} mg tablets, pack of {two}\\nTake one tablet {with water|after meals}. Do not take more than the leaflet says. Keep out of the reach of children.
Ingredients: {item}, {item}, sugar, salt. May contain nuts. Best before {isodate}.
{firm^} {item}, {two}0 g, best before {isodate}, store in a dry place
Warning: contains bleach. Never mix with acids or other cleaners. Wear gloves and keep the room aired.
Battery: {digit}.{two} V. Do not burn, crush or open. Made in {country}.""",
    "letters": """
Dear {name},\\n\\nThank you for your letter of {isodate}. We have {received|checked} your {word} and will {answer|refund {price}} within {two} days.\\n\\nYours sincerely,\\n{name}\\n{firm}
{name}\\n{street} {two}\\n{city}\\n\\n{isodate}\\n\\nRe: {word} {two}{two}\\n\\nI herewith cancel my contract as of {isodate}.\\n\\n{name}
From: {first}@example.com\\nTo: {first}@example.org\\nSubject: {hobby} on {day}\\n\\nShall we meet at {hour}?
CERTIFICATE\\nThis is to confirm that {name} has completed the course {topic} on {isodate}.""",
    "application_forms": """
Name: {name}\\nDate of birth: {isodate}\\nAddress: {two} {street}, {city}\\nOccupation: {job}\\nSignature: {first} {last}
First name: {first}\\nLast name: {last}\\nNationality: {country}\\nPassport No.: {letter}{two}{two}{two}\\nExpires: {isodate}
[x] {item}\\n[ ] {item}\\n[x] {item}\\nDelivery: {day}, {hour}
Q1: {yes|no}\\nQ2: {two}\\nQ3: {color}\\nRemarks: none
Patient: {name}\\nReason for visit: {headache|cut finger|low mood|cough}\\nAllergies: {none|penicillin|nuts}\\nSmoker: {yes|no}""",
}  # fmt: skip

_TWINS: Mapping[str, str] = {
    "transcribed_text": """
The note reads: "{line}"
{TRANSCRIPTION|Text in the image|OCR}: {line} {line_b}
The handwritten text says "{line} {line_b}", signed by {first}.
Top line: {line_b}\\nBottom line: {line}
Poster: "{line}" ({color} letters on {color})
[{hour}] {first}: {line}\\n[{hour}] {first}: {line_b}
{line}\\n\\n(written on a {thing}, {isodate})""",
    "guide_as_json": """
{"title": "How to {act}", "steps": ["{step}", "{step_b}", "{step_c}"]}
{"task": "{act}", "difficulty": "{easy|medium|hard}", "instructions": [{"step": 1, "text": "{step}"}, {"step": 2, "text": "{step_b}"}, {"step": 3, "text": "{step_c}"}]}
{"answer": "To {act}, {step}, then {step_b}.", "sources": [], "model": "v{digit}"}
[{"q": "How can I {act}?", "a": "{s_a} {s_b}"}]""",
    "guide_as_table": """
| Step | What to do |\\n|---|---|\\n| 1 | {s_a} |\\n| 2 | {s_b} |\\n| 3 | {s_c} |\\n\\nThis is all you need for {acting}.
# {acting}\\n\\n| When | Task |\\n| --- | --- |\\n| {day} | {step} |\\n| {day} | {step_b} |\\n| {day} | {step_c} |
goal;{act}\\nfirst;{step}\\nsecond;{step_b}\\nthird;{step_c}
step,action\\n1,{step} (for {acting})\\n2,{step_b}\\n3,{step_c}\\n4,{step_d}""",
    "chat_log": """
{first}: how do I {act}?\\n{first}: {step}, and then {step_b}.
user,message\\n{first},{line}\\n{first},{line_b}
[{"from": "{first}", "text": "{line}"}, {"from": "{first}", "text": "{line_b}"}]
{hour} {first} wrote: {line}\\n{hour} {first} answered: {line_b}""",
}  # fmt: skip


def _guard_json(templates: Mapping[str, str]) -> dict[str, str]:
    """JSON's own braces stand as other signs until the slots are filled."""
    return {
        family: text.replace('{"', "\x01").replace('"}', '"\x02')
        for family, text in templates.items()
    }


def _restore_json(form: Form) -> Form:
    def build(rng: random.Random) -> Draft:
        draft = form.build(rng)
        answer = draft.answer.replace("\x01", '{"').replace("\x02", "}")
        return Draft(answer, draft.category, draft.prompt)

    return Form(form.domain, form.family, form.harmful, build)


FORMS = (
    *(_plain_form(family) for family in _WRITERS),
    *(_noted_form(family, harmful) for family in _WRITERS for harmful in (False, True)),
    *phrase_forms("records", _PHRASES, extra=_TABLES),
    *(_restore_json(form) for form in twin_forms("records", _guard_json(_TWINS), restyled=False)),
)
