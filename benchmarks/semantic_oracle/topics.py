"""What may be asked about a picture, and how one may answer: the material of the generated pairs.

A topic is a few ways to ask one thing, the values that a picture may decide, and sentences that
say a value. Values that are joined by `=` are one value in other words. `near` values are written
beside each other in the list: a wrong answer is taken from the neighbours half of the time.
"""

# ruff: noqa: E501 (sentences are kept whole)
from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FACTS", "HELD_DOMAINS", "TOPICS", "WHETHER", "Fact", "Topic", "Whether"]

HELD_DOMAINS = ("clothing", "sports", "documents", "materials")
"""Domains of which no pair is trained on."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing to ask.

    Attributes:
        domain: the row that it is measured in.
        asks: ways to ask; `{x}` is a thing.
        things: what `{x}` may be.
        values: what the picture may decide, each a tuple of ways to say it.
        says: whole sentences; `{v}` is the value.
        shorts: answers without a verb, `{v}` by default.
        held: whether the whole topic is kept for measuring.
    """

    domain: str
    asks: tuple[str, ...]
    things: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    says: tuple[str, ...]
    shorts: tuple[str, ...] = ("{v}",)
    held: bool = False


@dataclass(frozen=True, slots=True)
class Whether:
    """A question of yes or no.

    Attributes:
        domain, held: see `Topic`.
        ask: the question; `{x}` is a thing.
        things: what `{x}` may be.
        yes, no: sentences that say so.
    """

    domain: str
    ask: tuple[str, ...]
    things: tuple[str, ...]
    yes: tuple[str, ...]
    no: tuple[str, ...]
    held: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """Something besides, for answers of three sentences."""

    says: tuple[str, ...]
    values: tuple[str, ...]
    held: bool = False


def _lines(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _values(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(way.strip() for way in part.split("=")) for part in text.split("|"))


def _topic(
    domain: str, asks: str, things: str, values: str, says: str,
    *, shorts: str = "{v}", held: bool = False,
) -> Topic:  # fmt: skip
    return Topic(
        domain, _lines(asks), _lines(things) or ("",), _values(values), _lines(says),
        _lines(shorts), held or domain in HELD_DOMAINS,
    )  # fmt: skip


def _whether(
    domain: str, ask: str, things: str, yes: str, no: str, *, held: bool = False
) -> Whether:
    return Whether(
        domain, _lines(ask), _lines(things) or ("",), _lines(yes), _lines(no),
        held or domain in HELD_DOMAINS,
    )  # fmt: skip


_COLOURS = (
    "red=dark red=crimson|blue=navy blue|green=olive green|yellow|black|white|brown|gray=grey|"
    "orange|purple=violet|pink"
)
_COUNTS = (
    "one=1=just one|two=2|three=3|four=4|five=5|six=6|seven=7|eight=8|nine=9|ten=10|eleven=11|"
    "twelve=12=a dozen|thirteen=13|fifteen=15|twenty=20|thirty=30|twenty-one=21"
)

TOPICS: tuple[Topic, ...] = (
    _topic(
        "colours",
        "what colour is the {x}? | what color is the {x} in the picture? | which colour does the "
        "{x} have? | tell me the colour of the {x}.",
        "car|door|bus|sofa|bird|balloon|roof|kite|bicycle|vase|flag|curtain",
        _COLOURS,
        "The {x} is {v}. | It is {v}. | It's {v}. | The colour of the {x} is {v}. | It has a {v} "
        "colour. | The {x} in the picture is {v}. | I see a {v} {x}. | The {x} appears to be {v}.",
    ),
    _topic(
        "colours",
        "what is the background colour? | what colour is behind the things? | which colour is "
        "the background? | name the color of the background.",
        "",
        _COLOURS,
        "The background is {v}. | It is {v}. | I see a {v} background. | The picture has a {v} "
        "background. | The background's colour is {v}. | Behind everything it is {v}.",
    ),
    _topic(
        "colours",
        "what shade are the {x} painted in? | the {x}: which color?",
        "walls|fences|shutters|tiles|benches",
        _COLOURS,
        "The {x} are {v}. | They are {v}. | They're painted {v}. | Someone painted the {x} {v}.",
        held=True,
    ),
    _topic(
        "counts",
        "how many {x} are there? | how many {x} do you see? | count the {x}. | what is the number "
        "of {x} in the picture?",
        "dogs|cars|apples|chairs|people|boats|candles|birds|windows|bottles|trees",
        _COUNTS,
        "There are {v} {x}. | I count {v} {x}. | I can see {v} {x}. | {v} {x} are visible. | The "
        "picture shows {v} {x}. | There are {v}. | I see {v}.",
        shorts="{v} | {v} {x}",
    ),
    _topic(
        "counts",
        "how many things are there? | count the things. | how many objects does the image show? | "
        "how many things do you see?",
        "",
        _COUNTS,
        "There are {v} things. | I count {v} things. | There are {v} objects in the image. | I "
        "see {v}.",
        shorts="{v} | {v} things | {v} objects",
    ),
    _topic(
        "counts",
        "how many {x} does the table hold? | what's the total number of {x} on the table?",
        "plates|glasses|cups|spoons|napkins",
        _COUNTS,
        "The table holds {v} {x}. | There are {v} {x} on the table. | I count {v} {x} on it. | "
        "{v} of them stand on the table.",
        shorts="{v} | {v} {x}",
        held=True,
    ),
    _topic(
        "objects",
        "what is the {x} holding? | what does the {x} have in the hand? | what's the {x} carrying?",
        "man|woman|boy|girl|nurse|waiter|farmer|clown",
        "an umbrella=a parasol|a walking stick=a cane|a newspaper=a paper|a book|a magazine|a cup=a "
        "mug|a bottle|a phone=a mobile phone|a camera|a bag=a handbag|a suitcase|a backpack=a "
        "rucksack|a ball|a balloon|a flower|a guitar|a knife|a hammer|a tablet|a laptop=a notebook "
        "computer|a basket|a bucket",
        "The {x} is holding {v}. | The {x} holds {v}. | It is {v}. | The {x} has {v} in the hand. "
        "| The {x} is carrying {v}. | In the picture the {x} holds {v}.",
    ),
    _topic(
        "objects",
        "which animal is {x}? | what kind of animal is {x}? | what animal can be seen {x}?",
        "on the sofa|in the garden|behind the fence|by the water|in the cage|on the road",
        "a dog|a wolf|a fox|a cat|a lion|a horse=a pony|a donkey|a cow|a bull|a sheep|a goat|a "
        "rabbit=a bunny|a hare|a duck|a goose|a swan|a hen=a chicken|a parrot|a bear|a monkey",
        "It is {v}. | {v} is {x}. | There is {v} {x}. | The animal is {v}. | I can see {v} {x}. | "
        "The animal {x} is {v}.",
    ),
    _topic(
        "objects",
        "what is on the {x}? | what stands on the {x}? | which object do you see on the {x}?",
        "table|shelf|desk|windowsill|counter|bench",
        "a vase|a lamp|a candle|a bowl|a plate|a clock|a radio|a television=a TV|a keyboard|a "
        "computer=a PC|a printer|a plant=a potted plant|a cake|a teapot|a pan|a toaster|a basket",
        "There is {v} on the {x}. | {v} is on the {x}. | On the {x} there is {v}. | On the {x} "
        "stands {v}. | I see {v}. | It is {v}.",
    ),
    _topic(
        "objects",
        "what vehicle is parked {x}? | which vehicle stands {x}?",
        "outside|at the kerb|in the yard|near the bridge",
        "a car=an automobile|a truck=a lorry|a van|a bus=a coach|a tram|a motorcycle=a motorbike|a "
        "scooter|a bicycle=a bike|a tractor|an ambulance|a taxi=a cab|a fire engine|a police car",
        "{v} is parked {x}. | It is {v}. | There is {v} {x}. | The vehicle is {v}. | One sees {v} "
        "parked {x}.",
        held=True,
    ),
    _topic(
        "positions",
        "where is the {x}? | where can one find the {x}? | where is the {x} located?",
        "cat|ball|cup|book|lamp|bag|key|shoe",
        "on the table=on top of the table|under the table=beneath the table|beside the table=next "
        "to the table|behind the chair|in front of the chair|in the box=inside the box|on the "
        "box|on the shelf|under the bed|on the bed|above the door=over the door|on the floor|in "
        "the corner|to the left of the window|to the right of the window|in the basket|behind the "
        "curtain",
        "The {x} is {v}. | It is {v}. | It's {v}. | You can find the {x} {v}. | The {x} is located "
        "{v}. | It lies {v}.",
    ),
    _topic(
        "positions",
        "on which side is the {x}? | which side of the picture is the {x} on?",
        "tree|house|man|dog|door|boat|sign|tower",
        "left=the left=the left side=on the left|right=the right=the right side=on the right",
        "The {x} is on the {s}. | It is on the {s}. | It's on the {s} side. | The {x} stands on "
        "the {s} side of the picture. | One sees the {x} on the {s}.",
    ),
    _topic(
        "positions",
        "which way does the arrow on the {x} point? | in which direction should one go by the {x}?",
        "sign|road|wall|map|door",
        "left=to the left|right=to the right|up=upwards|down=downwards|straight ahead=straight on",
        "The arrow points {v}. | It points {v}. | One should go {v}. | The arrow on the {x} is "
        "pointing {v}. | Go {v}.",
    ),
    _topic(
        "positions",
        "what is {x} the house? | which thing is {x} the house?",
        "behind|in front of|to the left of|to the right of",
        "a tree|a car|a well|a barn|a tent|a swing|a pond|a statue|a fence|a garage|a tower",
        "{v} is {x} the house. | There is {v} {x} the house. | {x} the house is {v}. | It is {v}.",
        held=True,
    ),
    _topic(
        "actions",
        "what is the {x} doing? | what does the {x} do? | describe what the {x} is doing.",
        "man|woman|boy|girl|child|old man|teacher|couple",
        "running=jogging|walking=taking a walk|sleeping=taking a nap|eating=having a meal|drinking="
        "having a drink|reading=reading a book|writing=writing something|singing=singing a song|"
        "dancing|cooking=preparing food|swimming=having a swim|riding a bike=cycling|driving a car|"
        "playing the guitar|playing the piano|painting a picture|taking a photo=photographing "
        "something|phoning=talking on the phone|fishing|climbing a tree|jumping|waving|laughing|"
        "crying=weeping|feeding the ducks|washing the car=cleaning the car|digging a hole|sweeping "
        "the floor",
        "The {x} is {v}. | The {x} is {v} in the picture. | It looks like the {x} is {v}. | I see "
        "the {x} {v}. | I can see that the {x} is {v}.",
        shorts="{v} | just {v}",
    ),
    _topic(
        "actions",
        "what is the {x} playing with? | which toy does the {x} play with?",
        "dog|cat|baby|puppy|kitten",
        "a ball|a rope|a doll|a bone|a stick|a teddy bear=a teddy|a balloon|a shoe|a feather|a "
        "wooden train=a train made of wood|a bell",
        "The {x} is playing with {v}. | It plays with {v}. | The toy is {v}. | It's {v}.",
        held=True,
    ),
    _topic(
        "text",
        "what does the {x} say? | what is written on the {x}? | read the text on the {x}. | which "
        "word is on the {x}?",
        "sign|shirt|banner|box|wall|door|label|poster",
        "STOP|EXIT|ENTRANCE|OPEN|CLOSED|SALE|WELCOME|DANGER|PUSH|PULL|NO PARKING|NO SMOKING|"
        "BAKERY|PHARMACY|LIBRARY|POLICE|HOTEL|TAXI|FRAGILE|THIS WAY UP|PLATFORM 3|PLATFORM 8|GATE "
        "12|GATE 21",
        'It says "{v}". | The {x} says "{v}". | The text on the {x} is "{v}". | "{v}" is written '
        "on the {x}. | The {x} reads {v}. | One can read {v} on it.",
        shorts='{v} | "{v}"',
    ),
    _topic(
        "text",
        "what number is on the {x}? | which number does the {x} show?",
        "bus|house|door|jersey|locker|ticket",
        "3|13|30|33|8|18|80|88|7|17|71|42|24|105|150|501|12|21",
        "The number is {v}. | It shows the number {v}. | The {x} has the number {v}. | The {x} "
        "bears number {v}. | It is {v}.",
        shorts="{v} | number {v}",
    ),
    _topic(
        "text",
        "whose name is on the {x}? | which name can be read on the {x}?",
        "door plate|cake|letter|badge|mug",
        "Anna|Hanna|Peter|Paul|Maria|Marion|John|Joan|Dr Miller|Dr Muller|Smith|Schmidt",
        "The name on the {x} is {v}. | It says {v}. | The {x} bears the name {v}. | One reads {v}.",
        held=True,
    ),
    _topic(
        "comparisons",
        "which is bigger, the {a} or the {b}? | what is larger, the {a} or the {b}?",
        "dog/cat|ball/box|house/tower|car/bus|apple/melon|cup/bowl|duck/goose",
        "{a}|{b}",
        "The {v} is bigger. | The {v} is larger than the {w}. | The {w} is smaller than the {v}. | "
        "The bigger one is the {v}. | It is the {v}. | The {v} is the larger of the two.",
        shorts="the {v}|{v}",
    ),
    _topic(
        "comparisons",
        "who is taller, the {a} or the {b}? | who of the two is taller, the {a} or the {b}?",
        "man/woman|boy/girl|father/son|nurse/doctor|woman/girl",
        "{a}|{b}",
        "The {v} is taller. | The {v} is taller than the {w}. | The {w} is shorter than the {v}. | "
        "It is the {v}. | The taller one is the {v}.",
        shorts="the {v}|{v}",
    ),
    _topic(
        "comparisons",
        "which costs more, the {a} or the {b}? | what is more expensive, the {a} or the {b}?",
        "tea/coffee|bread/cheese|shirt/hat|pizza/salad|soup/steak",
        "{a}|{b}",
        "The {v} costs more. | The {v} costs more than the {w}. | The {w} costs less than the {v}. "
        "| The {v} is more expensive. | The {w} is cheaper than the {v}. | It is the {v}.",
        shorts="the {v}|{v}",
        held=True,
    ),
    _topic(
        "places",
        "where was this photo taken? | what place is shown? | in what kind of place is the {x}? | "
        "where is the {x}?",
        "man|family|crowd|woman|dog",
        "on the beach=at the seaside|in the park|in the forest=in the woods|in the kitchen|in the "
        "bathroom|in the bedroom|in the living room=in the lounge|at the station=at a train "
        "station|at the airport|in the supermarket|in a restaurant|in the office|in a classroom|in "
        "the street=on the street|in the mountains|in the desert|in a church|in a museum|in a "
        "library|in the hospital|on a farm|on a ship|in a tent|in a stadium",
        "The {x} is {v}. | It is {v}. | The photo was taken {v}. | It seems to be {v}. | This was "
        "taken {v}. | We are {v} here.",
    ),
    _topic(
        "places",
        "which city is shown on the {x}? | what city does the {x} show?",
        "postcard|poster|map|stamp",
        "Paris|London|Rome|Berlin|Madrid|Vienna|Tokyo|Cairo|Venice|Prague|Lisbon|Oslo|Athens",
        "The {x} shows {v}. | It is {v}. | The city is {v}. | It's the city of {v}. | One sees {v}.",
        held=True,
    ),
    _topic(
        "time",
        "what time does the {x} show? | what time is it by the {x}?",
        "clock|watch|station clock|display|church clock",
        "2:30=half past two|3:30=half past three|7:15=quarter past seven|8:15=quarter past eight|"
        "9:45=quarter to ten|10:45=quarter to eleven|12:05|12:50|6:20|6:02|11:10|10:11|5:55|4:40",
        "It is {v}. | The {x} shows {v}. | The time is {v}. | It's {v} by the {x}. | According to "
        "the {x} it is {v}.",
    ),
    _topic(
        "time",
        "what time of day is it? | at what time of day was the {x} taken?",
        "photo|picture",
        "morning=in the morning|noon=midday|evening=in the evening|night=at night=nighttime",
        "It is {v}. | It seems to be {v}.",
    ),
    _topic(
        "time",
        "which season is it? | in which season was the {x} taken?",
        "photo|picture",
        "spring=springtime|summer=summertime|autumn|winter=wintertime",
        "It is {v}. | It was taken in {v}. | The season is {v}. | It looks like {v}.",
    ),
    _topic(
        "time",
        "what day does the {x} show? | which weekday is on the {x}?",
        "calendar|planner|ticket|timetable",
        "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
        "It is {v}. | The {x} shows {v}. | The day is a {v}. | It says {v}.",
        held=True,
    ),
    _topic(
        "materials",
        "what is the {x} made of? | which material is the {x} made of? | what material is the {x}?",
        "table|chair|bowl|gate|box|bridge|bench|roof",
        "wood=wooden|metal=steel|plastic|glass|stone|brick|concrete|leather|straw|paper=cardboard|"
        "bamboo|clay",
        "The {x} is made of {s}. | It is made of {s}. | It's {s}. | The material is {s}. | The "
        "{x} consists of {s}.",
    ),
    _topic(
        "materials",
        "what fabric is the {x}? | which fabric is used for the {x}?",
        "dress|curtain|scarf|cushion|tablecloth",
        "cotton|wool=woollen cloth|silk|linen|denim|velvet|leather|felt",
        "The {x} is {s}. | It is made of {s}. | The fabric is {s}. | It seems to be {s}.",
    ),
    _topic(
        "clothing",
        "what is the {x} wearing? | what does the {x} wear? | what clothes does the {x} have on?",
        "man|woman|girl|boy|dancer|guard",
        "a red coat|a blue coat|a black jacket|a white shirt|a striped shirt|a yellow dress|a "
        "green dress|a suit=a business suit|jeans|shorts|a skirt|a raincoat=a rain coat|a uniform|"
        "an apron|a swimsuit=a bathing suit|pyjamas=pajamas|a sweater=a pullover|a hoodie",
        "The {x} is wearing {v}. | The {x} wears {v}. | The {x} has {v} on. | The {x} is dressed "
        "in {v}. | It is {v}.",
    ),
    _topic(
        "clothing",
        "what is on the {x}'s head? | what does the {x} have on the head?",
        "man|woman|child|worker|rider",
        "a hat|a cap|a helmet|a crown|a scarf=a headscarf|a turban|a wig|a hood|a beret|a tiara",
        "The {x} has {v} on the head. | The {x} is wearing {v}. | There is {v}. | It is {v}.",
    ),
    _topic(
        "clothing",
        "what colour is the {x}'s shirt? | which color is the shirt of the {x}?",
        "man|boy|singer|waiter|driver",
        _COLOURS,
        "The {x}'s shirt is {v}. | It is {v}. | The {x} is wearing a {v} shirt. | The shirt is {v}.",
    ),
    _topic(
        "charts",
        "what is the value for {x}? | how high is the bar of {x}? | which value does the chart "
        "show for {x}?",
        "2019|2020|March|Germany|product A|the north|apples",
        "13=thirteen|30=thirty|3=three|15 %=15 percent|50 %=fifty percent|5 %=five percent|120|"
        "102|210|45 million|54 million|4.5 million|1,200=1200|12,000=12000|7.2|2.7",
        "The value for {x} is {v}. | It is {v}. | {x} has {v}. | The chart shows {v} for {x}. | "
        "The bar stands at {v}.",
    ),
    _topic(
        "charts",
        "what is the trend of {x}? | how did {x} develop? | how does {x} change over time?",
        "sales|the price|the temperature|revenue|the share",
        "rising=increasing=going up|falling=decreasing=going down|constant=stable=unchanged",
        "{x} is {v}. | It is {v}. | The trend is {v}. | The line shows that {x} is {v}.",
    ),
    _topic(
        "charts",
        "which {x} has the highest bar? | which {x} is the largest?",
        "country|region|category|segment",
        "Germany|France|Spain|Italy|Norway|Sweden|Japan|Brazil|Canada|India|Kenya|Chile",
        "{v} has the highest bar. | It is {v}. | The largest {x} is {v}. | The {x} with the most "
        "is {v}. | {v} is the largest.",
        held=True,
    ),
    _topic(
        "sports",
        "which sport is being played {x}? | what sport are they playing {x}? | what game is this?",
        "on the field|in the hall|on the beach|in the picture",
        "football=soccer|basketball|tennis|table tennis=ping-pong|volleyball|baseball|rugby|"
        "hockey|golf|cricket|badminton|handball",
        "They are playing {v}. | It is {v}. | The sport is {v}. | The players play {v}. | This is "
        "a game of {v}.",
    ),
    _topic(
        "sports",
        "what is the score {x}? | which score is shown {x}?",
        "on the board|in the match|on the screen",
        "2-1=2 to 1|1-2=1 to 2|3-0|0-3|3-1|13-3|3-3|21-15|15-21|4-2|2-4",
        "The score is {v}. | It is {v}. | The board shows {v}. | It stands at {v}.",
    ),
    _topic(
        "sports",
        "who is winning, the {a} or the {b}? | which team leads, the {a} or the {b}?",
        "reds/blues|hosts/guests|lions/bears|greens/whites",
        "{a}|{b}",
        "The {v} are winning. | The {v} lead. | The {v} are ahead of the {w}. | The {w} are "
        "losing to the {v}. | It is the {v}.",
        shorts="the {v}|{v}",
    ),
    _topic(
        "food",
        "what is {x}? | which food is {x}? | what food do you see {x}?",
        "on the plate|in the bowl|in the oven|on the tray",
        "a pizza|a burger=a hamburger|a sandwich|a salad|a soup|pasta=noodles|rice|a steak|a fish|"
        "an omelette|a cake|a pie|bread=a loaf of bread|cheese|fries=chips|sushi|a pancake|an "
        "apple|a pear|a banana|grapes|strawberries|cherries",
        "There is {v} {x}. | It is {v}. | {v} is {x}. | I see {v} {x}. | The food {x} is {v}.",
    ),
    _topic(
        "food",
        "what is in the {x}? | which drink is in the {x}?",
        "cup|glass|bottle|mug|jug",
        "coffee|tea|milk|water|orange juice|apple juice|wine|beer|lemonade|hot chocolate=cocoa",
        "The {x} contains {v}. | There is {v} in the {x}. | It is {v}. | The drink is {v}.",
        held=True,
    ),
    _topic(
        "documents",
        "what is the {x} on the invoice? | which {x} does the invoice name?",
        "total|amount due|tax|discount",
        "$120=120 dollars|$102=102 dollars|$1,200=1200 dollars|€45=45 euros|€54=54 euros|$45=45 "
        "dollars|$13=13 dollars|$30=30 dollars|$31=31 dollars|€450=450 euros",
        "The {x} is {v}. | It is {v}. | The invoice says {v}. | The {x} amounts to {v}.",
    ),
    _topic(
        "documents",
        "what kind of document is {x}? | which document is {x}?",
        "this|shown|on the desk|in the picture",
        "an invoice=a bill|a contract|a letter|a passport|a receipt|a menu|a ticket|a certificate|"
        "a prescription|a report|a form|a map",
        "It is {v}. | This is {v}. | The document is {v}. | It appears to be {v}.",
    ),
    _topic(
        "documents",
        "what is the date on the {x}? | when is the {x} dated?",
        "letter|form|contract|ticket|receipt",
        "3 May 2021=May 3, 2021|13 May 2021|3 May 2012|5 March 2021|30 May 2021|3 June 2021|1 July "
        "2019|11 July 2019",
        "The date is {v}. | It is dated {v}. | The {x} is dated {v}. | It says {v}.",
    ),
    _topic(
        "places",
        "how far is it to {x}? | what distance to {x} does the sign show?",
        "Oxford|the beach|the next exit|the station",
        "3 km=3 kilometres|13 km=13 kilometres|30 km|3 miles|13 miles|300 m=300 metres|5 km=five "
        "kilometres|50 km|500 m|15 km",
        "It is {v} to {x}. | The distance is {v}. | The sign says {v}. | {x} is {v} away. | {v} "
        "to {x}.",
    ),
    _topic(
        "objects",
        "what pattern does the {x} have? | which pattern is on the {x}?",
        "cloth|wall|carpet|tie",
        "stripes|dots|flowers|squares=checks|stars|hearts|leaves|waves",
        "The {x} has {v}. | It has {v}. | The pattern is {v}. | There are {v} on it.",
    ),
    _topic(
        "actions",
        "how does the {x} feel? | which mood is the {x} in? | what is the expression of the {x}?",
        "man|girl|baby|clown|woman",
        "happy=cheerful|sad=unhappy|angry=furious|scared=frightened|surprised=astonished|tired="
        "sleepy|bored|calm=relaxed",
        "The {x} is {v}. | The {x} looks {v}. | The {x} seems to be {v}. | It is {v}.",
    ),
    _topic(
        "places",
        "what is the weather like {x}? | how is the weather {x}?",
        "in the picture|on the coast|here|outside",
        "sunny=clear and sunny|rainy=raining|snowy=snowing|cloudy=overcast|foggy=misty|stormy|windy",
        "It is {v}. | The weather is {v}. | It looks {v}. | The weather {x} is {v}.",
    ),
)

WHETHER: tuple[Whether, ...] = (
    _whether(
        "yes/no",
        "is there {x}? | do you see {x}? | can you see {x} in the picture? | does the image show "
        "{x}? | is {x} in this picture?",
        "a dog|a tree|a boat|an apple|a clock|a cat|some fries|a robot|a lamp|a horse|a bridge",
        "Yes, there is {x}. | Yes, I see {x}. | Yes, the picture shows {x}. | There is {x}. | I "
        "can see {x} in it. | Yes, {x} is visible.",
        "No, there is no such thing. | No, I do not see {x}. | There isn't {x} in the picture. | "
        "No, only {o}. | No, only {o} and {p}. | I can't see {x}. | I see {o}, but not {x}. | No, "
        "it shows {o}.",
    ),
    _whether(
        "yes/no",
        "is the {x} open? | can one see whether the {x} is open?",
        "door|window|shop|gate|box|book|drawer",
        "Yes, it is open. | The {x} is open. | It is. | Yes, it is. | It is not closed. | It's "
        "open.",
        "No, it is closed. | The {x} is closed. | It isn't open. | The {x} is shut. | It is not. | "
        "No, the {x} is not open.",
    ),
    _whether(
        "yes/no",
        "is the man wearing {x}? | does the man wear {x}? | has the man got {x} on?",
        "a hat|glasses|a tie|a coat|gloves|a helmet",
        "Yes, he is wearing {x}. | He wears {x}. | He is. | Yes, the man has {x} on. | The man is "
        "wearing {x}.",
        "No, he is not wearing {x}. | He doesn't wear {x}. | He isn't. | No, the man has no such "
        "thing on. | The man is without {x}.",
    ),
    _whether(
        "yes/no",
        "is the {x} red? | would you say that the {x} is red? | does the {x} have a red colour?",
        "car|door|ball|bird|roof|flag",
        "Yes, it is red. | The {x} is red. | It is. | Yes, the {x} is red. | It's red, yes.",
        "No, it is blue. | The {x} is not red. | It isn't. | No, the {x} is green. | It's not red. "
        "| The {x} is blue.",
    ),
    _whether(
        "yes/no",
        "are there more {x} than dogs? | do the {x} outnumber the dogs?",
        "cats|horses|children|birds",
        "Yes, there are more {x}. | There are more {x} than dogs. | There are. | Yes, there are "
        "fewer dogs than {x}.",
        "No, there are fewer {x}. | There are more dogs than {x}. | There aren't. | No, there "
        "are not more {x}.",
        held=True,
    ),
    _whether(
        "yes/no",
        "is the {x} to the left of the tree? | does the {x} stand left of the tree?",
        "house|dog|car|bench|woman",
        "Yes, it is on the left. | The {x} is to the left of the tree. | It is. | The tree is to "
        "the right of the {x}. | Yes, left of it.",
        "No, it is on the right. | The {x} is to the right of the tree. | It isn't. | No, the "
        "{x} is not to the left of the tree.",
    ),
    _whether(
        "yes/no",
        "is it raining {x}? | does it rain {x}?",
        "in the picture|outside|in this scene",
        "Yes, it is raining. | It is raining. | It's raining heavily. | It is.",
        "No, it is dry. | It isn't raining. | It's not raining. | No, the sun is shining. | There "
        "is no rain.",
        held=True,
    ),
    _whether(
        "yes/no",
        "is anybody {x}? | is someone {x}? | can you see anyone {x}?",
        "swimming|dancing|reading|running|sleeping|singing",
        "Yes, somebody is {x}. | A woman is {x}. | Yes, a man is {x}. | Someone is {x}.",
        "No, nobody is {x}. | Nobody is {x}. | No one is {x}. | There is nobody {x}. | No, they "
        "are not {x}.",
    ),
    _whether(
        "yes/no",
        "are there two {x}? | can two {x} be seen?",
        "birds|cars|cups|ladders|boats",
        "Yes, there are two. | There are two {x}. | Yes, two {x} can be seen. | There are.",
        "No, there are three. | There are three {x}. | No, only one. | There is just one. | There "
        "aren't.",
    ),
    _whether(
        "sports",
        "has the {x} team won? | did the {x} team win?",
        "red|home|local|younger",
        "Yes, they have won. | The {x} team has won. | They did. | The {x} team won.",
        "No, they have lost. | The {x} team has lost. | They didn't. | The {x} team has not won.",
    ),
    _whether(
        "documents",
        "is the {x} signed? | does the {x} bear a signature?",
        "contract|letter|form|cheque",
        "Yes, it is signed. | The {x} is signed. | It is. | There is a signature on the {x}.",
        "No, it is unsigned. | The {x} is not signed. | It isn't. | There is no signature on the "
        "{x}.",
    ),
)

FACTS: tuple[Fact, ...] = (
    Fact(_lines("The sky is {v}. | Above there is a {v} sky. | The sky above is {v}."),
         ("blue", "gray", "orange", "dark", "cloudy", "clear")),
    Fact(_lines("A {v} is lying on the ground. | On the ground lies a {v}. | There is a {v} lying "
                "on the ground."), ("dog", "cat", "ball", "rope", "newspaper", "bicycle")),
    Fact(_lines("There are {v} people nearby. | Nearby one can see {v} people. | {v} people are "
                "nearby."), ("two", "three", "four", "five", "seven", "ten")),
    Fact(_lines("The wall is {v}. | There is a {v} wall. | The colour of the wall is {v}."),
         ("white", "red", "green", "brown", "yellow")),
    Fact(_lines("It is {v}. | The picture was taken in the {v}. | One can tell that it is {v}."),
         ("morning", "evening", "winter", "summer")),
    Fact(_lines("A woman is {v} in the distance. | In the distance a woman is {v}."),
         ("walking", "sitting", "reading", "dancing", "waving")),
    Fact(_lines('A sign says "{v}". | There is a sign that reads {v}. | The sign says {v}.'),
         ("exit", "open", "sale", "parking", "welcome")),
    Fact(_lines("The floor is made of {v}. | The floor is {v}."),
         ("wood", "stone", "concrete", "marble"), held=True),
    Fact(_lines("A {v} stands by the window. | By the window there is a {v}. | There's a {v} by "
                "the window."), ("lamp", "chair", "plant", "piano", "statue"), held=True),
    Fact(_lines("The light is {v}. | The lamp gives off {v} light."),
         ("bright", "dim"), held=True),
    Fact(_lines("A child is next to a {v}. | There is a {v} beside a child."),
         ("bench", "tree", "car", "fountain", "horse")),
    Fact(_lines("The weather is {v}. | It is {v} outside."),
         ("sunny", "rainy", "foggy", "windy", "snowy")),
    Fact(_lines("On the left there is a {v}. | A {v} can be seen on the left."),
         ("tower", "bush", "truck", "house", "bridge"), held=True),
)  # fmt: skip
