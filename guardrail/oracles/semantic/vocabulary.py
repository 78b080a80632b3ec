"""Closed classes of English words that the reading of an answer needs; nothing here computes."""

from __future__ import annotations

__all__ = [
    "AUXILIARIES",
    "BACKDROPS",
    "BASE_COLOURS",
    "COMPARATIVES",
    "CONVERSES",
    "DIMENSIONS",
    "FRAME_WORDS",
    "IRREGULAR",
    "LOOSE_PLACES",
    "NEGATIONS",
    "NO_WORDS",
    "NUMBER_WORDS",
    "PEOPLE_DIMENSIONS",
    "PERCENT",
    "PLACES",
    "STOP_WORDS",
    "SYNONYMS",
    "YES_WORDS",
]


def _split(text: str) -> frozenset[str]:
    return frozenset(text.split())


AUXILIARIES = _split(
    "is are was were am do does did can could has have had will would should may might must isn't "
    "aren't wasn't weren't doesn't don't didn't can't hasn't haven't"
)
NEGATIONS = _split("no not never none nobody nothing nowhere neither without cannot hardly")
YES_WORDS = _split("yes yeah yep yup correct indeed true certainly definitely affirmative sure")
NO_WORDS = _split("no nope nah incorrect false negative")

STOP_WORDS = _split(
    "a an the this that these those some any it its it's he she they them him her his their there "
    "there's here i we you your our my me us who whom whose which what where when why how is are "
    "was were be been being am do does did done has have had having can could will would should "
    "may might must shall of to for from as at by into onto with and or but so if then than too "
    "also just only very quite really rather well going happening happens happen goes everything "
    "sentence please reads read written text word words says clearly apparently probably likely "
    "seems seem seemed appears appear appeared looks look looking like about around exactly total "
    "altogether overall currently right's that's what's he's she's they're i'm one's while because "
    "since such own same each kind sort type would'd say said tell tells know think believe make "
    "makes up out off s d re ll ve m t thing things object objects item items actually simply "
    "answer case way sure yes no part parts it'd both all in on get gets got during according "
    "given fact person's contain contains containing feature features include includes including "
    "consist consists made use uses used using call called name named number amount count counts "
    "many much see sees seen can't cannot not n't found find located situated placed standing "
    "stand stands lie lies lying sit's set stay place position somebody someone whether something "
    "nobody nothing none neither nor never without isn't aren't wasn't doesn't don't didn't hasn't "
    "haven't couldn't won't hardly individual individuals colour color colours colors"
)
FRAME_WORDS = _split(
    "picture pictures image images photo photos photograph photographs shot snapshot scene view "
    "show shows shown showing depict depicts depicted depicting visible describe description "
    "caption captures display displays displayed presents present illustrates illustration frame "
    "foreground portrays portrayed"
)

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
_TEENS = "fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS: dict[str, float] = {
    **{word: float(n) for n, word in enumerate(f"{_UNITS} {_TEENS}".split())},
    **{word: 10.0 * n for n, word in enumerate(_TENS.split(), start=2)},
    "hundred": 100.0, "thousand": 1000.0, "million": 1e6, "dozen": 12.0, "couple": 2.0,
    "pair": 2.0, "single": 1.0, "twice": 2.0, "half": 0.5,
    **{word: float(n) for n, word in enumerate(
        "first second third fourth fifth sixth seventh eighth ninth tenth".split(), start=1
    )},
}  # fmt: skip

_UNIT_WORDS = (
    (
        "kilometre/km/kilometer/kilometres/kilometers metre/m/meter/metres/meters "
        "centimetre/cm/centimeter/centimetres/centimeters millimetre/mm/millimetres/millimeters "
        "mile/mi/miles foot/ft/feet inch/inches yard/yards"
    ),
    "kilogram/kg/kilo/kilograms/kilos gram/g/grams pound/lb/lbs/pounds ounce/ounces tonne/tonnes",
    "litre/l/liter/litres/liters millilitre/ml/millilitres gallon/gallons",
    "dollar/$/dollars/usd euro/€/euros/eur pound-sterling/£/gbp yen/¥ cent/cents",
    (
        "hour/h/hours/hr/hrs minute/min/minutes/mins seconds/sec/secs day-long/days week/weeks "
        "month/months year/years"
    ),
    "celsius/°c/centigrade fahrenheit/°f",
    "kmh/km/h mph",
)
PERCENT = frozenset(("%", "percent"))
"""What stands behind a share and changes nothing where both say it."""

BASE_COLOURS: dict[str, str] = {
    word: group.split("/")[0]
    for group in (
        "red/crimson/scarlet/maroon/ruby/burgundy/reddish blue/navy/azure/cobalt/bluish "
        "green/olive/emerald/lime/greenish yellow/yellowish/lemony black/blackish "
        "white/whitish/ivory brown/brownish/tan grey/gray/greyish/grayish orange "
        "purple/violet/lilac/lavender pink/pinkish/magenta golden/gold silver/silvery beige/cream "
        "cyan/turquoise/teal multicoloured/multicolored/colourful/colorful"
    ).split()
    for word in group.split("/")
}

# Of each dimension the words of which one excludes the others; those joined by a stroke are one.
_DIMENSIONS = (
    "left right",
    "north south east west",
    "up/upward/upwards/upstairs down/downward/downwards/downstairs",
    "indoors/inside/indoor outdoors/outside/outdoor",
    "open/opened/ajar closed/shut",
    "full/filled empty",
    "locked unlocked",
    "wet/damp/soaked dry",
    "clean/spotless dirty/muddy/filthy/grimy",
    "hot/warm/boiling cold/chilly/cool/freezing/icy",
    "alive/living dead",
    "old/elderly/aged/ancient young/youthful",
    "new/brand-new used/worn-out",
    (
        "big/large/huge/bigger/larger/biggest/largest/giant/enormous/massive "
        "small/little/tiny/smaller/smallest/miniature"
    ),
    "tall/taller/tallest/high/higher/highest low/lower/lowest",
    "long/longer/longest short/shorter/shortest",
    "wide/broad/wider narrow/narrower thin/thinner",
    "thick/thicker slim/slender",
    "heavy/heavier/heaviest light-weight/lighter/lightest",
    "fast/quick/faster/fastest/quickly slow/slower/slowest/slowly",
    "allowed/permitted forbidden/prohibited/banned",
    "safe dangerous/unsafe/hazardous",
    "morning/dawn/sunrise noon/midday afternoon evening/dusk/sunset night/nighttime/midnight",
    "am pm",
    "spring summer autumn/fall-season winter",
    "monday tuesday wednesday thursday friday saturday sunday",
    (
        "january/jan february/feb march/mar april/apr month-of-may june/jun july/jul "
        "august/aug september/sept october/oct november/nov december/dec"
    ),
    (
        "sunny/clear/cloudless rainy/raining/rain snowy/snowing cloudy/overcast foggy/misty "
        "stormy windy"
    ),
    "man/men/male/gentleman/guy woman/women/female/lady boy/boys/lad girl/girls",
    "adult/adults/grown-up child/children/kid/kids/toddler baby/infant",
    (
        "happy/smiling/cheerful/smile/joyful/laughing sad/crying/unhappy/frowning/upset/weeping "
        "angry/furious"
    ),
    "awake asleep/sleeping",
    "sitting/seated/sits/sat standing/upright lying kneeling crouching",
    "running/jogging/runs walking/strolling/walks",
    (
        "wooden/wood/timber metal/metallic/steel/iron/aluminium/aluminum plastic glass "
        "stone/rock/rocky brick/bricks leather cotton wool/woollen/woolen silk denim "
        "paper/cardboard concrete/cement "
        "ceramic/porcelain/clay rubber marble straw/wicker bamboo velvet linen felt"
    ),
    (
        "striped/stripes/stripy dotted/polka-dot/dots/spotted checked/checkered/chequered/plaid "
        "plain/solid floral/flowery"
    ),
    "round/circular/circle square triangular/triangle rectangular/rectangle oval hexagonal",
    (
        "rising/rise/rose/increasing/increase/increased/increases/grew/growing/climbed/grow/grows "
        "falling/fall/fell/decreasing/decrease/decreased/decreases/declined/dropped/shrank/declining"
        "/decline/drop/drops stable/flat/constant/unchanged/steady"
    ),
    "most/majority least/minority half",
    "more/greater/exceeds fewer/less",
    "always sometimes",
    "before/earlier after/later",
    "winning/won/win/wins/leading/ahead losing/lost/lose/loses/behind-score trailing",
    "straight curly/wavy bald",
    "blond/blonde brunette",
    "raw/uncooked cooked/fried/baked/boiled/grilled",
    "ripe unripe",
    "sweet sour salty bitter spicy",
    "vegetarian/vegan meaty",
    "crowded/busy/packed deserted/quiet/vacant/unoccupied",
    "occupied/taken free/available",
    "broken/damaged/cracked intact/undamaged/whole",
    "new-moon full-moon",
    "lit/switched-on/illuminated unlit/dark/switched-off",
    "bright dim",
    "smooth rough bumpy",
    "soft hard",
    "valid/current expired/invalid",
    "paid unpaid/outstanding/overdue",
    "signed unsigned",
    "approved/accepted rejected/refused/denied/declined-request",
    "parked/stationary/stopped moving/driving",
    "breakfast lunch dinner/supper",
    "top bottom middle/centre/center",
    "front rear/back",
    "clockwise anticlockwise/counterclockwise",
    "entrance/entry exit",
    "single-storey two-storey",
    (
        "football/soccer basketball tennis baseball volleyball rugby hockey golf cricket badminton "
        "boxing swimming skiing surfing"
    ),
)
DIMENSIONS: dict[str, tuple[int, str]] = {
    word: (number, group.split("/")[0])
    for number, line in enumerate((*_DIMENSIONS, *_UNIT_WORDS))
    for group in line.split()
    for word in (("kmh", "km/h") if group == "kmh/km/h" else group.split("/"))
    if word not in ("", "in", "second")
}

PEOPLE_DIMENSIONS = frozenset(DIMENSIONS[word][0] for word in ("man", "adult"))
"""Dimensions whose words name somebody, so that details may belong to them."""

PLACES: dict[str, str] = {
    word: group.split("/")[0]
    for group in (
        "in/inside/within on/upon/onto under/below/beneath/underneath above/over behind "
        "front-of near/beside/by/alongside/next/adjacent between through/across against around"
    ).split()
    for word in group.split("/")
}

CONVERSES: dict[str, tuple[str, bool]] = {
    # word: (relation, whether its two sides are to be exchanged)
    "left": ("left", False), "right": ("left", True),
    "above": ("above", False), "over": ("above", False), "on": ("above", False),
    "below": ("above", True), "under": ("above", True), "beneath": ("above", True),
    "underneath": ("above", True),
    "behind": ("behind", False), "front-of": ("behind", True),
    "before": ("before", False), "after": ("before", True),
}  # fmt: skip

_MORE = (
    "more greater higher exceeds beats beat bigger larger taller longer older faster quicker "
    "heavier dearer costlier pricier brighter wider broader warmer hotter stronger richer busier "
    "newer deeper closer nearer thicker louder ahead leads lead winning won defeats outnumber "
    "outnumbers most biggest largest tallest oldest fastest heaviest expensive"
)
_LESS = (
    "fewer less lower smaller shorter younger slower lighter cheaper darker narrower colder cooler "
    "weaker poorer quieter shallower farther further thinner losing lost trails trailing least "
    "smallest shortest youngest slowest lightest cheapest cheap"
)
COMPARATIVES: dict[str, int] = {
    **dict.fromkeys(_MORE.split(), 1),
    **dict.fromkeys(_LESS.split(), -1),
}
"""+1 for a word by which the first of two has more, -1 for one by which it has less."""

LOOSE_PLACES = frozenset(
    "street road beach train bus field farm picture photo image sea coast corner seaside side sky "
    "ground country couch".split()
)
"""Nouns in or on which something is alike."""

BACKDROPS = frozenset("background backdrop".split())
"""Nouns on, against or in front of which everything in a picture is."""

_SYNONYMS = (
    "backpack/rucksack/knapsack bag/handbag/purse newspaper/paper bus/coach horse/pony "
    "calm/relaxed/peaceful happy/glad invoice/bill sweater/pullover/jumper/jersey "
    "headscarf/kerchief kid/child beach/seaside/shore fridge/refrigerator rabbit/bunny hen/chicken "
    "pasta/noodle/spaghetti burger/hamburger fries/chip cocoa/chocolate-drink lift/elevator "
    "flat/apartment pavement/sidewalk tram/streetcar petrol/gasoline torch/flashlight bin/dustbin "
    "tap/faucet pram/stroller curtain/drape couch/sofa/settee cupboard/closet/wardrobe "
    "forest/wood-land/woods hill/mound boat/rowboat ship/vessel plane/aircraft photo/picture "
    "motorbike/motorcycle van/minivan cop/policeman doctor/physician waiter/server "
    "footpath/path/trail lawn/grass stone-wall/rampart prize/award gift/present lady/woman "
    "scared/frightened/afraid surprised/astonished/amazed tired/sleepy/exhausted "
    "angry/furious bored/uninterested fast/quick total/sum begin/start end/finish "
    "fix/repair buy/purchase phone/telephone/mobile speak/talk shout/yell jump/leap "
    "weep/cry cook/prepare clean/wash throw/toss lift-up/raise push/shove pull/tug "
    "price/cost error/mistake ill/sick rich/wealthy funny/amusing stair/step film/movie "
    "mail/post sweet/candy biscuit/cookie shore/coast lamp/light-fitting cap/baseball-cap "
    "tablet/ipad laptop/notebook-computer trainer/sneaker pants/trousers/slacks swimsuit/swimwear "
    "raincoat/mackintosh pyjama/pajama check/square lorry/truck garage/carport cane/walking-stick "
    "mug/cup"
)
SYNONYMS: dict[str, str] = {
    word: group.split("/")[0] for group in _SYNONYMS.split() for word in group.split("/")
}
"""Stems that are taken for one."""

IRREGULAR: dict[str, str] = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot",
    "teeth": "tooth", "mice": "mouse", "geese": "goose", "knives": "knife", "leaves": "leaf",
    "shelves": "shelf", "loaves": "loaf", "wolves": "wolf", "sheep": "sheep", "worn": "wear",
    "wore": "wear", "held": "hold", "ate": "eat", "eaten": "eat", "drank": "drink",
    "drunk": "drink", "rode": "ride", "ridden": "ride", "ran": "run", "sat": "sit",
    "written": "write", "wrote": "write", "caught": "catch", "threw": "throw", "thrown": "throw",
    "bitten": "bite", "bit": "bite", "fed": "feed", "led": "lead", "read": "read",
    "built": "build", "bought": "buy", "sold": "sell", "cut": "cut", "taught": "teach",
    "took": "take", "taken": "take", "drove": "drive", "driven": "drive", "slept": "sleep",
    "swam": "swim", "cost": "cost", "costs": "cost", "bus": "bus", "glass": "glass",
    "glasses": "glasses", "kids": "child", "kid": "child", "bicycle": "bike", "bicycles": "bike",
    "bikes": "bike", "automobile": "car", "automobiles": "car", "sofa": "couch", "sofas": "couch",
    "trousers": "pants", "lorry": "truck", "lorries": "truck", "aeroplane": "plane",
    "airplane": "plane", "television": "tv", "telephone": "phone", "cellphone": "phone",
    "smartphone": "phone", "kitten": "cat", "puppy": "dog", "mug": "cup", "spectacles": "glasses",
    "sneakers": "trainer", "colour": "color", "colours": "color", "rug": "carpet",
    "taxi": "cab", "shop": "store", "shops": "store", "street": "road", "parasol": "umbrella",
}  # fmt: skip
