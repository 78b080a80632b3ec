"""The kinds of things the built-in model knows, each one an emoji.

Names are single words, so that an answer can be scored by looking for them.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BACKGROUNDS", "FORBIDDEN", "HARMLESS", "KINDS", "Topic"]


class Topic(StrEnum):
    """Why a kind is forbidden."""

    WEAPON = "weapon"
    DRUG = "drug"
    GESTURE = "gesture"


HARMLESS: dict[str, str] = {
    # animals
    "dog": "🐕", "cat": "🐈", "mouse": "🐁", "rabbit": "🐇", "fox": "🦊", "bear": "🐻",
    "panda": "🐼", "koala": "🐨", "tiger": "🐅", "lion": "🦁", "cow": "🐄", "pig": "🐖",
    "frog": "🐸", "monkey": "🐒", "chicken": "🐔", "penguin": "🐧", "chick": "🐥", "duck": "🦆",
    "eagle": "🦅", "owl": "🦉", "bat": "🦇", "wolf": "🐺", "boar": "🐗", "horse": "🐎",
    "unicorn": "🦄", "bee": "🐝", "caterpillar": "🐛", "butterfly": "🦋", "snail": "🐌",
    "ladybug": "🐞", "ant": "🐜", "spider": "🕷", "scorpion": "🦂", "turtle": "🐢",
    "snake": "🐍", "lizard": "🦎", "octopus": "🐙", "squid": "🦑", "shrimp": "🦐",
    "lobster": "🦞", "crab": "🦀", "pufferfish": "🐡", "fish": "🐟", "dolphin": "🐬",
    "whale": "🐳", "shark": "🦈", "crocodile": "🐊", "zebra": "🦓", "gorilla": "🦍",
    "elephant": "🐘", "hippo": "🦛", "rhino": "🦏", "camel": "🐫", "giraffe": "🦒",
    "kangaroo": "🦘", "sheep": "🐑", "goat": "🐐", "deer": "🦌", "rooster": "🐓", "turkey": "🦃",
    "peacock": "🦚", "parrot": "🦜", "swan": "🦢", "flamingo": "🦩", "raccoon": "🦝",
    "squirrel": "🐿", "hedgehog": "🦔", "dragon": "🐉", "dinosaur": "🦕", "sloth": "🦥",
    # plants and food
    "cactus": "🌵", "pine": "🌲", "palm": "🌴", "clover": "🍀", "mushroom": "🍄", "tulip": "🌷",
    "rose": "🌹", "sunflower": "🌻", "hibiscus": "🌺", "grapes": "🍇", "melon": "🍈",
    "watermelon": "🍉", "orange": "🍊", "lemon": "🍋", "banana": "🍌", "pineapple": "🍍",
    "mango": "🥭", "apple": "🍎", "pear": "🍐", "peach": "🍑", "cherries": "🍒",
    "strawberry": "🍓", "kiwi": "🥝", "tomato": "🍅", "coconut": "🥥", "avocado": "🥑",
    "eggplant": "🍆", "carrot": "🥕", "corn": "🌽", "broccoli": "🥦", "bread": "🍞",
    "croissant": "🥐", "pretzel": "🥨", "cheese": "🧀", "egg": "🍳", "waffle": "🧇",
    "bacon": "🥓", "burger": "🍔", "fries": "🍟", "pizza": "🍕", "sandwich": "🥪", "taco": "🌮",
    "burrito": "🌯", "salad": "🥗", "popcorn": "🍿", "sushi": "🍣", "donut": "🍩",
    "cookie": "🍪", "cake": "🎂", "cupcake": "🧁", "chocolate": "🍫", "lollipop": "🍭",
    "honey": "🍯", "milk": "🥛", "coffee": "☕", "wine": "🍷", "beer": "🍺", "pie": "🥧",
    # vehicles and places
    "car": "🚗", "taxi": "🚕", "bus": "🚌", "ambulance": "🚑", "firetruck": "🚒", "truck": "🚚",
    "tractor": "🚜", "bicycle": "🚲", "scooter": "🛵", "train": "🚆", "plane": "✈",
    "helicopter": "🚁", "rocket": "🚀", "boat": "⛵", "ship": "🚢", "anchor": "⚓",
    "house": "🏠", "hospital": "🏥", "castle": "🏰", "tent": "⛺", "volcano": "🌋",
    "ferriswheel": "🎡", "tram": "🚋", "motorcycle": "🏍", "canoe": "🛶",
    # sky
    "sun": "☀", "moon": "🌙", "star": "⭐", "rainbow": "🌈", "cloud": "☁", "snowflake": "❄",
    "snowman": "⛄", "umbrella": "☂", "globe": "🌍", "fire": "🔥", "lightning": "⚡",
    # things
    "ball": "⚽", "basketball": "🏀", "football": "🏈", "tennis": "🎾", "trophy": "🏆",
    "medal": "🥇", "guitar": "🎸", "violin": "🎻", "trumpet": "🎺", "drum": "🥁",
    "piano": "🎹", "microphone": "🎤", "headphones": "🎧", "palette": "🎨", "camera": "📷",
    "television": "📺", "laptop": "💻", "phone": "📱", "watch": "⌚", "clock": "⏰",
    "lamp": "💡", "candle": "🕯", "book": "📕", "envelope": "✉", "pencil": "✏",
    "scissors": "✂", "key": "🔑", "lock": "🔒", "hammer": "🔨", "wrench": "🔧", "magnet": "🧲",
    "microscope": "🔬", "telescope": "🔭", "balloon": "🎈", "gift": "🎁", "teddy": "🧸",
    "crown": "👑", "ring": "💍", "gem": "💎", "glasses": "👓", "hat": "🎩", "cap": "🧢",
    "shirt": "👕", "dress": "👗", "sock": "🧦", "glove": "🧤", "scarf": "🧣", "shoe": "👟",
    "boot": "👢", "backpack": "🎒", "chair": "🪑", "bell": "🔔", "dice": "🎲", "robot": "🤖",
    "ghost": "👻", "heart": "❤", "compass": "🧭", "basket": "🧺", "soap": "🧼", "broom": "🧹",
}  # fmt: skip

FORBIDDEN: dict[str, tuple[str, Topic]] = {
    "gun": ("🔫", Topic.WEAPON),
    "knife": ("🔪", Topic.WEAPON),
    "dagger": ("🗡", Topic.WEAPON),
    "swords": ("⚔", Topic.WEAPON),
    "bomb": ("💣", Topic.WEAPON),
    "dynamite": ("🧨", Topic.WEAPON),
    "axe": ("🪓", Topic.WEAPON),
    "bow": ("🏹", Topic.WEAPON),
    "syringe": ("💉", Topic.DRUG),
    "pills": ("💊", Topic.DRUG),
    "cigarette": ("🚬", Topic.DRUG),
    "still": ("⚗", Topic.DRUG),
    "finger": ("🖕", Topic.GESTURE),
    "swearing": ("🤬", Topic.GESTURE),
    "fist": ("👊", Topic.GESTURE),
}

KINDS: tuple[str, ...] = tuple(HARMLESS) + tuple(FORBIDDEN)

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (240, 240, 240), "black": (28, 28, 30), "gray": (128, 128, 128),
    "red": (214, 48, 48), "yellow": (246, 220, 70),
    "green": (60, 160, 75), "blue": (50, 90, 210), "purple": (130, 65, 180),
    "pink": (245, 150, 190), "brown": (120, 78, 45), "cyan": (80, 205, 220),
}  # fmt: skip
