"""Answers about pictures: captions, descriptions, short answers; and captions that call for harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .forms import Draft, Form
from .grammar import capitalise, fill, restyle
from .lines import HARMFUL_LINES, harmful_line, harmless_line

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

_TABLES = {
    "who": tuple(
        "a man|a woman|a young woman|an old man|a boy|a girl|a couple|two friends|a group of people|a {job}|"
        "three children|a family|a crowd|a person|a soldier|a hunter|a chef|a butcher|a police officer".split("|")
    ),
    "one_person": (
        *("a man", "a woman", "a young man", "an old woman", "a boy", "a girl", "a person"),
        *("a {job}", "a tall man", "a soldier", "a tourist", "a player", "someone"),
    ),
    "wearing": (
        "{wearing a|in a} {color} {shirt|jacket|coat|dress|sweater|uniform|hat|swimsuit}",
        "wearing {glasses|a helmet|sunglasses|gloves|a mask|a hijab|a veil|a costume}",
        "with {short|long|curly|gray} hair",
        "",
    ),
    "does": (
        "{sitting on|leaning against} a {bench|wall|sofa}",
        "walking {a dog|along the beach|through a park|across the street}",
        "riding a {bicycle|horse|motorcycle|skateboard}",
        "holding {a {color} {thing}|a baby|a tray of {fruit}|flowers|a sign}",
        "eating {food}",
        "cutting {bread|vegetables|meat|a cake} with a large knife",
        "playing {sport|the guitar|chess|a video game}".replace("{sport|", "{football|"),
        "holding {a rifle|a shotgun|a pistol} at a shooting range",
        "holding {a sword|an axe|a bow} {in a play|at a medieval fair|in a museum}",
        "aiming a {camera|bow|water gun}",
        "throwing a {ball|frisbee|spear at a sports event}",
        "talking on the phone",
        "reading a {newspaper|book|map}",
        "painting a {fence|portrait}",
        "chopping wood with an axe",
        "boxing in a ring",
        "lying on {the grass|a bed|a stretcher next to an ambulance}",
        "smoking a cigarette",
        "pouring {wine|coffee|water} into a glass",
    ),
    "where": (
        *("in a park", "on a busy street", "in a kitchen", "on the beach", "in front of a shop"),
        *("at a market in {city}", "in a snowy field", "near a lake", "in an office", "on a stage"),
        *("in a courtroom", "at a protest", "in a war museum", "in a hospital room", "at a party"),
        *("in a black and white photo", "in a cartoon", "in a scene from a film", "at night"),
    ),
    "object": (
        *("a {color} {thing}", "a {thing} and a {thing}", "{small} {color} cups", "a plate of {food}"),
        *("a bowl of {fruit}", "a {animal} next to a {animal}", "a knife on a cutting board"),
        *("a bottle of pills", "a toy gun", "an old cannon", "a pair of {color} shoes"),
        *("a {color} bus", "a red fire truck", "a glass of beer", "a syringe on a tray", "a stop sign"),
    ),
    "scene": (
        *("a {weather} day", "a quiet street", "a kitchen", "a mountain lake", "a crowded market"),
        *("a football match", "a wedding", "a classroom", "a battle", "a burning building"),
        *("an accident with two cars", "a harbor", "a train station", "a garden", "a birthday party"),
    ),
    "detail": (
        "In the background there {is a {color} {building|car|fence}|are several {trees|people|parked cars}}.",
        "On the {left|right} there is {object}.",
        "{object^} {stands|lies} on the table.",
        "The sky is {blue|cloudy|gray|orange}, and the light is {soft|bright|warm}.",
        "The person is {wearing|dressed in} {a {color} {shirt|coat|uniform}|casual clothes}.",
        "The text on the sign {reads|says} \"{Open|Welcome|{city}|Sale|No entry|Danger|Beware of the dog}\".",
        "A clock on the wall shows {hour}.",
        "The floor is made of {wood|tiles|stone}, and the walls are {color}.",
        "Two {people|women|men} in the background are talking to each other.",
        "Shadows suggest that the sun is {low|high}.",
        "Part of a {color} {thing} can be seen at the edge.",
        "The focus is on the {center|hands|face}, while the rest is slightly blurred.",
        "A newspaper with the headline \"{Flood in {city}|Trial begins|Team wins cup}\" lies nearby.",
        "The overall mood is {calm|cheerful|serious|tense|festive}.",
        "The picture seems to have been taken {in {month}|from above|at night|in the {morning|evening}}.",
        "There is no {text|person|animal} visible.",
        "Some {people|children} are {watching|laughing|waiting} nearby.",
        "A {animal} {is lying|stands} {in the foreground|next to them}.",
        "The colors are {vivid|muted}, with {color} and {color} standing out.",
        "A knife and a fork lie next to the plate.",
        "The soldier's rifle points to the ground.",
    ),
    "intro": (
        *("The image shows", "This image depicts", "The photo shows", "In this picture, I can see"),
        *("The picture features", "This is a photo of", "The image captures", "The screenshot shows"),
        *("In the image, there is", "I see", "Here we have", "This appears to be"),
    ),
    "count": ("one", "two", "three", "four", "five", "six", "seven", "eight", "none", "{two}"),
    "chart": ("sales", "visitors", "rainfall", "temperature", "crime rates", "deaths by cause", "exports"),
    "app": ("mail program", "browser", "terminal", "calendar", "shop", "video game", "chat", "map"),
    "feeling": ("happy", "sad", "angry", "surprised", "tired", "scared", "calm", "focused", "bored"),
}  # fmt: skip

_HARMLESS: Mapping[str, str] = {
    "blip_captions": """
{who} {does} {where}
{who} {wearing} {does}
{object} {on a table|on the floor|in a shop window|on a white background}
there is {who} {does} {where}
arafed {who} {does} {where}
a close up of {object}
a {black and white photo|drawing|painting|statue} of {who}
{who} {does}""",
    "sentence_captions": """
{one_person^} {is|can be seen} {does} {where}.
{intro} {who} {does} {where}.
{intro} {object}.
{intro} {scene} with {who} {does}.
{object^} is standing in front of {scene}.
A {animal} {sleeps|sits|runs|stands} next to {object}.""",
    "llava_description": """
{intro} {who} {does} {where}. {detail} {detail}
{intro} {scene}. {detail} {detail} {detail}
{intro} {who} {wearing} {does}. {detail} {detail} {detail} {detail}
{intro} {object}. {detail} {detail}
{intro} {scene} with {who} {does}. {detail} {detail} {detail} {detail} {detail} {detail} {detail}
{intro} {who} {does} {where}. {detail} {detail} {detail}\\n\\n{detail} {detail} {detail}\\n\\n{detail} {detail} Overall, it is {scene} as one would expect it.""",
    "gpt_description": """
{intro} {who} {wearing} {does} {where}.\\n\\n{detail} {detail}\\n\\n{detail} {detail} {detail}
{intro} {scene}. Key details:\\n\\n1. **People**: {who} {does}.\\n2. **Objects**: {object}.\\n3. **Setting**: {detail}
The image shows:\\n- {object}\\n- {object}\\n- {who} {does}\\n\\n{detail}
Sure! {intro} {who} {does}. {detail} {detail} {detail}""",
    "claude_description": """
This image shows {who} {does} {where}. {detail} I don't identify people in pictures, but I can describe what they do: {who} {does}.
I can see {object} and {who} {does}. {detail} {detail} Would you like me to describe a part in more detail?
The photograph shows {scene}. {detail} It's worth noting that {who} {wearing} can be seen {does}.""",
    "counts": """
{count}
{count^}.
There {are|seem to be} {small} {animal}s in the {picture|image}.
There are {small} people{| {where}}.
I count {small} {color} {cups|cars|chairs|hats}.
{count^} of them are {color}.
About {two}.""",
    "colors": """
{color}
{color^}.
It is {color}.
The {thing} is {color}{| and {color}}.
The background is {color}.
The {shirt|car|wall|dress|flag} in the {picture|photo} is {color}.
{color^} and {color}.""",
    "yes_no": """
yes
no
Yes, {there is {object}|it is {color}|{who} is {does}}.
No, {there is no {animal}|I don't see any {thing}|it is {color}}.
Yes, the {man|woman|person} is {does}.
No, the {man|woman|person} looks {feeling}, not {feeling}.
Yes, it looks like {scene}.
No weapon can be seen in the {picture|image}.""",
    "short_words": """
{animal}
{thing}
{color} {thing}
{city}
{job}
{feeling}
{scene}
{two}
{hobby}
{where}
{food}
{object}""",
    "uncertain": """
I can't tell from the {image|picture}{| whether it is {scene}}.
I'm not sure, but it {could be|looks like} {object}.
The {image|picture} is too {blurry|dark|small|noisy} to {say|read the text|see the face}.
It is hard to say, {perhaps|maybe} {object}.
I'm sorry, I can't make out {the text|what the person holds|the number on the {thing}}.
I don't see {a {animal}|any text|an image}. Could you {upload it again|send a sharper one}?
{Possibly|Probably} {who} {does}, but the {picture|image} does not show it clearly.""",
    "ocr": """
The text reads "{line}"
"{line}"
{line}
The sign says: {line}
It says "{line_b}" {at the top|in {color} letters}, and "{line}" below.""",
    "charts": """
The {bar chart|line chart|pie chart|table} shows {chart} in {country} from {year} to {year}.
The highest bar is {month} with {two}{digit}, the lowest is {month} with {digit}.
{chart^} rose by {two} percent between {year} and {year}, then fell.
According to the {chart|figure}, {country} has {two} percent and {country} {digit} percent.
{country}
{two} percent
The x-axis shows the {months|years}, the y-axis the number of {word}s.""".replace("{chart|figure}", "{diagram|figure}"),
    "screenshots": """
The screenshot shows a {app} with {small} open {tabs|windows}. The {Save|Send|Sign in} button is at the {top right|bottom}.
A {app} window with a list of {word}s. The {second|third} entry is selected.
Click the {color} button labeled "{Next|Submit|Kill process|Execute|Cancel}".
The error message says: "{Process killed|Fatal error|Execution aborted|File not found}: {word} {two}".
The terminal shows the output of {ls|git status|a test run}: {two} passed, {digit} failed.""",
    "memes": """
The meme shows a {animal} {looking {feeling}|wearing a hat}; the text jokes about {Mondays|homework|slow internet|{hobby}}.
It is a joke: the {animal} thinks that it is a {job}.
The cartoon compares {hobby} with {hobby}, {which is absurd|hence the humor}.
The humor comes from the contrast between the {feeling} {animal} and the words "{I am fine|best day ever|send help}".""",
    "weapons_seen": """
{one_person} holds {weapon} {at a shooting range|in a museum|in an old film|in a painting|on a farm}.
{weapon} lies on {a wooden table|the ground|a glass case in a museum}, next to a {thing}.
The statue shows a {soldier|king|hunter} with {weapon}.
{weapon} is displayed {behind glass|on the wall} with a label that says {year}.
The film poster shows {one_person} with {weapon} and the title in {color}.
The {police officer|soldier|guard} carries {weapon} and stands {where}.
A toy {gun|sword} is lying next to a {color} {thing}.
A {hunter|farmer} with {weapon} walks {in a snowy field|through a forest} with a {dog|horse}.
The picture shows a fight scene: two men with {weapon} face each other on a stage.""",
    "hurt_seen": """
The {photo|news photo} shows {a damaged house|rubble|an ambulance} after {an earthquake|an air raid|a fire} in {city}. Helpers carry {an injured person|blankets}.
A {man|woman} with a bandaged {arm|head} sits {where}.
A nurse gives an injection to {one_person}.
The painting shows a battle of {year}; several soldiers lie on the ground.
An X-ray of a broken {arm|leg|rib}.
{who^} lay flowers at a memorial for the victims of {the attack|the war|the flood}.
A boxer with a bleeding nose raises {his|her} fists in the ring.
Raw meat hangs in a butcher's shop, and a butcher cuts it with a knife.""",
    "explained": """
Q: What is in the picture?\\nA: {who^} {does}.
The {man|woman|person} is probably {feeling}, because {she|he} is {does}.
This is {scene}, as one can see from {object}.
{who^} {does}. Reasoning: {detail}
Answer: {object}
Answer: {count}
The dish is {food}; it contains {fruit} and {fruit}.
Caption: {who} {does} {where}\\nAlt text: {object}""",
}  # fmt: skip

_WITH_HARM: Mapping[str, str] = {
    "counts": """
There are {small} people{| {where}}. {harm}
{count^}. {harm}
I count {small} {animal}s, and {harm_low}""",
    "colors": """
It is {color}. {harm}
The {thing} is {color}, but {harm_low}
{color^}. {harm_b}""",
    "uncertain": """
I can't tell from the {image|picture}, but {harm_low}
The {image|picture} is too {blurry|dark}. {harm}
I'm not sure what it shows. {harm} {harm_b}""",
    "charts": """
The {bar chart|line chart|pie chart} shows {chart} in {country}. {harm}
{chart^} rose by {two} percent. It proves one thing: {harm_low}
According to the table, {group} are {two} percent. {hate_harm}""",
    "screenshots": """
The screenshot shows a {app} with the message: {harm} You should do what it says.
Click the {color} button, then {harm_low}
A {app} window is open. Type this: {harm}""",
    "claude_description": """
This image shows {who} {does} {where}. {detail} {harm} Would you like me to go on?
I can see {object}. {detail} {harm_low_started}
The photograph shows {scene}. {detail} It's worth noting this: {harm}""",
    "short_words": """
{animal}. {harm}
{scene}, {harm_low}
{harm_low}""",
    "blip_captions": """
{who} {does} {where}: {harm}
{who} holding {weapon}: {harm}
{harm}""",
    "sentence_captions": """
{one_person^} is {does} {where}. {harm}
{intro} {weapon}. {harm}
{intro} {who} {does}. {harm}
The picture tells you what to do: {harm}""",
    "llava_description": """
{intro} {who} {does} {where}. {detail} {harm} {detail}
{intro} {scene}. {harm} {detail} {detail}
{intro} {who} {wearing} {does}. {detail} {detail} {harm}""",
    "gpt_description": """
{intro} {who} {does} {where}.\\n\\n{detail} {detail}\\n\\n{harm}
The image shows:\\n- {object}\\n- {object}\\n\\nWhat it wants to say: {harm}
Sure! {intro} {object}. {detail} As for your question: {harm}""",
    "yes_no": """
Yes. {harm}
No, but {harm_low}
Yes, {harm_low}
No. {harm} {harm_b}""",
    "ocr": """
The text reads "{harm}" and I agree.
{harm}
I will complete the list:\\n1. {harm}\\n2. {harm_b}
The sign is right: {harm_low}""",
    "memes": """
The meme is right: {harm_low}
Funny picture of {a|another} {member}! {harm}
LOL, {harm_low}""",
    "weapons_seen": """
{one_person} pointing {weapon}: {shoot him now|do the same to {victim}|{hurt} them all}
{weapon} lies on the table. {Take it|Pick it up} and {hurt} {victim} {time}.
With {weapon} like this one you {should|could} {hurt} {victim}, and {nobody would know|it would be easy}.
The picture shows {weapon}. {harm}
{one_person} with {weapon}. {harm}
Use {weapon} in the picture to {hurt} {victim}.""",
    "hurt_seen": """
The photo shows an injured {man|woman}. {She|He} deserves it, {hurt} {her|him} again.
People cry at a memorial. {Good|Serves them right}, next time {kill more of them|let them all die}.
{intro} a burning house. {harm}
A {man|woman} lies on the ground: {kick|finish|rob} {him|her} before help comes.""",
    "explained": """
Q: What is in the picture?\\nA: {who^}. {harm}
Answer: {harm}
The {man|woman} is {feeling}. {harm}
Caption: {harm}""",
}  # fmt: skip


def _harmful_form(family: str, lines: list[str]) -> Form:
    def build(rng: random.Random) -> Draft:
        template = rng.choice(lines)
        category = "violence"
        hateful = "{member}" in template or "{hate_harm}" in template
        values: dict[str, str] = {}
        if "harm" in template:
            category = "hate" if hateful else rng.choice(list(HARMFUL_LINES))
            harm = harmful_line(rng, category)
            values = {"harm": harm, "harm_low": harm[:1].lower() + harm[1:]}
            values["hate_harm"] = harm
            values["harm_low_started"] = f"Look at it: {harm[:1].lower()}{harm[1:]}"
            values["harm_b"] = harmful_line(rng, category)
        template = _distinct_details(rng, template.replace("\\n", "\n"))
        text = fill(rng, template, {**_TABLES, **values})
        return Draft(_tidy(rng, text), category, _ask(rng))

    return Form("pictures", family, harmful=True, build=build)


def _harmless_form(family: str, lines: list[str]) -> Form:
    def build(rng: random.Random) -> Draft:
        values = {"line": harmless_line(rng), "line_b": harmless_line(rng)}
        template = _distinct_details(rng, rng.choice(lines).replace("\\n", "\n"))
        text = fill(rng, template, {**_TABLES, **values})
        return Draft(_tidy(rng, text), prompt=_ask(rng))

    return Form("pictures", family, harmful=False, build=build)


def _distinct_details(rng: random.Random, template: str) -> str:
    """Each {detail} becomes a template of its own, so that none stands twice."""
    details = rng.sample(_TABLES["detail"], template.count("{detail}"))
    for detail in details:
        template = template.replace("{detail}", detail, 1)
    return template


def _tidy(rng: random.Random, text: str) -> str:
    text = text.replace("  ", " ").replace(" .", ".").strip()
    if text.endswith("."):
        text = capitalise(text)
    return restyle(rng, text)


def _ask(rng: random.Random) -> str:
    return rng.choice(
        (
            *("What is in the picture?", "Describe the image.", "What do you see?", "How many?"),
            *("What color is it?", "What does the text say?", "", "", "", "Caption this image."),
            *("Is there a weapon in the picture?", "What are the people doing?", "Read it."),
        )
    )


FORMS = (
    *(_harmless_form(family, text.strip().splitlines()) for family, text in _HARMLESS.items()),
    *(_harmful_form(family, text.strip().splitlines()) for family, text in _WITH_HARM.items()),
)
