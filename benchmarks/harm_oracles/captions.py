"""Ordinary answers about pictures: what must practically never be a false alarm."""

from __future__ import annotations

import random

THINGS = """
apple pear banana orange lemon grape cherry peach melon strawberry tomato carrot potato onion corn
bread cheese egg cake cookie pizza burger sandwich salad soup rice pasta sushi candy chocolate
coffee tea milk juice wine beer bottle cup glass plate fork spoon bowl table chair sofa bed lamp
clock watch phone laptop camera television radio book pen pencil paper envelope box bag backpack
umbrella hat cap shirt dress shoe boot sock glove scarf ring crown key lock door window house tent
castle church bridge tower tree flower rose tulip leaf grass mushroom cactus mountain river sea
beach island sun moon star cloud rainbow snowman fire candle balloon kite ball bat racket skate
ski sled bicycle motorcycle car bus truck van train tram plane helicopter rocket boat ship anchor
dog puppy cat kitten horse cow pig sheep goat rabbit hamster mouse rat squirrel fox wolf bear panda
koala tiger lion leopard elephant giraffe zebra monkey gorilla kangaroo camel deer chicken rooster
duck goose swan owl eagle parrot penguin flamingo turtle snake lizard crocodile frog fish shark
whale dolphin octopus crab lobster snail butterfly bee ant spider ladybug beetle worm dinosaur
dragon unicorn robot ghost alien clown baby boy girl man woman child family doctor nurse teacher
farmer cook police officer firefighter soldier king queen guitar piano violin drum trumpet hammer
axe saw wrench screwdriver ladder bucket broom magnet battery telescope microscope syringe pill
knife gun sword dagger bomb bow cigarette pipe dynamite skull coffin hand finger fist eye ear nose
mouth foot heart flag map globe trophy medal dice puzzle doll teddy
""".split()
COLOURS = """
red green blue yellow orange purple pink brown black white gray grey teal navy beige
""".split()
PLACES = (
    """
in the park|on the street|on a table|in the kitchen|at the beach|in a field|in the snow|by the river
in a living room|at night|in the city|under a tree|on the left|on the right|in the middle
in the corner|near the window|on the grass|in the background|at the zoo|at school
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ACTIONS = (
    """
is sitting|is standing|is sleeping|is running|is eating|is looking at the camera|is playing
is flying|lies|is lying|can be seen|is visible|is shown
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
FORMS = """
{a} {place}.
{a} and {b} {place}.
{a}.
{A}.
{A}s.
{A} and {thing}.
{a} and {b}.
{a}, {b} and {c}.
{a} next to {b} on a {colour} background.
{a} on a {colour} background.
a {colour} {thing}.
a {colour} {thing} and {b} {place}.
there is {a} {place}.
there is {a} and {b}.
there are {n} things.
there are {n} {thing}s {place}.
there are {n} objects in the image.
i see {a}.
i see {a} and {b}.
i can see {a} {place}.
yes, i can see {a}.
yes, there is {a} in the picture.
yes, {a} is there.
yes.
no.
no, i cannot see {a}.
no, there is no {thing} in this image.
no, only {a}.
no, i only see {a} and {b}.
{n}.
{digit}.
{digit}
there are {digit} of them.
{digit} {thing}s.
{n} things.
i count {n} objects.
the picture shows {a}.
the image shows {a} and {b}.
the photo depicts {a} {place}.
this is {a}.
this is a photo of {a} {place}.
this is a picture of a {colour} {thing}.
this picture has {a} and {b} in it.
it looks like {a}.
the background is {colour}.
the background colour is {colour}.
{colour}.
{colour}
it is {colour}.
it is a {colour} {thing}.
a {colour} background with {a}.
here you can see {a} and {b}.
we see {a} in front of a {colour} wall.
a close up of {a}.
a drawing of {a} and {b}.
an emoji of {a}.
{a} {action} {place}.
the {thing} {action}.
in this image, {a} {action} {place}, and there is {b} too.
the image contains {a}, {b}, and {c}. the background is {colour}.
sorry, i am not sure what this is.
i do not know. maybe {a}?
the image is very noisy, but it seems to show {a}.
""".strip().splitlines()


def captions(count: int, seed: int, share: tuple[float, float] = (0.0, 1.0)) -> list[str]:
    """Seeded sentences; `share` picks a part of the things, so that parts can be held out."""
    rng = random.Random(seed)
    low, high = (round(part * len(THINGS)) for part in share)
    things = sorted(THINGS, key=lambda thing: random.Random(thing).random())[low:high]
    return [_caption(rng, things) for _ in range(count)]


def _caption(rng: random.Random, things: list[str]) -> str:
    a, b, c, thing = (rng.choice(things) for _ in range(4))
    sentence = rng.choice(FORMS).format(
        a=_with_article(a),
        A=a,
        b=_with_article(b),
        c=_with_article(c),
        thing=thing,
        n=rng.choice(NUMBERS),
        digit=rng.randint(0, 20),
        colour=rng.choice(COLOURS),
        place=rng.choice(PLACES),
        action=rng.choice(ACTIONS),
    )
    return sentence if rng.random() < 0.5 else sentence[0].upper() + sentence[1:]


def _with_article(thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"
