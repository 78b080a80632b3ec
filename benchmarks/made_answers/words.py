"""Tables of plain words and phrases that several domains share. All people and firms are made up."""

from __future__ import annotations

_TEXTS = {
    "first": """Anna|Ben|Carla|Daniel|Elena|Farid|Grace|Hugo|Ines|Jonas|Kavya|Liam|Mei|Nadia|Oscar|Priya
        |Quentin|Rosa|Samuel|Tara|Umar|Vera|Wei|Ximena|Yusuf|Zoe|Amara|Bilal|Chloe|Dmitri|Fatima
        |Jane|John|Maria|Tom|Sofia|Kenji|Aisha|Pedro|Leila""",
    "last": """Adler|Bianchi|Castillo|Demir|Eriksen|Fischer|Garcia|Hughes|Ivanov|Jensen|Kowalski
        |Lindqvist|Moreau|Nakamura|Okafor|Petrov|Quinn|Rossi|Schmidt|Takahashi|Usman|Vargas
        |Walker|Xu|Young|Zhang|Doe|Miller|Brown|Singh|Haddad|Novak|Silva|Mensah""",
    "name": "{first} {last}",
    "city": """Lisbon|Oslo|Prague|Nairobi|Lima|Toronto|Kyoto|Melbourne|Chicago|Vienna|Porto|Hanoi
        |Marrakesh|Cape Town|Reykjavik|Seattle|Barcelona|Mumbai|Warsaw|Dublin|Athens|Zurich
        |Montreal|Accra|Helsinki|Bogota|Denver|Glasgow|Naples|Osaka""",
    "country": """Portugal|Norway|Kenya|Peru|Canada|Japan|Australia|Austria|Vietnam|Morocco|Iceland
        |Spain|India|Poland|Ireland|Greece|Ghana|Finland|Chile|Mexico|Egypt|Turkey|Brazil""",
    "street": """Oak Street|Mill Lane|Station Road|Harbor View|Church Street|Elm Avenue|Park Row
        |Kings Road|Garden Way|Lake Drive|Market Square|Hill Road|River Street|Birch Close""",
    "firm": """Northwind Traders|Blue Heron Books|Alder & Sons|Brightleaf Foods|Cobalt Systems|Lumen
        Studio|Harbor Bakery|Pine Hill Dairy|Redwood Clinic|Silver Birch Hotel|Tandem Cycles
        |Orchard Market|Kestrel Air|Mosaic Tiles|Juniper Garden Centre|Sunrise Dental""",
    "month": """January|February|March|April|May|June|July|August|September|October|November
        |December""",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "digit": "1|2|3|4|5|6|7|8|9",
    "two": "12|15|18|20|24|25|30|36|40|45|48|50|60|75|80|90",
    "small": "two|three|four|five|six|seven|eight",
    "year": "1789|1848|1865|1914|1918|1936|1945|1956|1968|1974|1989|1994|2003|2011|2016|2021|2023",
    "hour": "8:00|8:30|9:00|9:15|10:00|10:30|11:00|12:30|13:00|14:00|15:30|16:00|17:45|18:00|19:30",
    "price": "{digit}.99|{digit}.50|1{digit}.00|2{digit}.90|{two}.00|{digit}{digit}.{two}|{digit}9.95",
    "phone": "555-01{digit}{digit}|(555) 010-{digit}{digit}{digit}0|+1 555 01{two}",
    "isodate": "202{digit}-0{digit}-1{digit}|202{digit}-0{digit}-2{digit}|202{digit}-1{one}-0{digit}",
    "one": "0|1|2",
    "color": """red|blue|green|yellow|white|black|brown|gray|orange|purple|pink|turquoise|beige|
        navy blue|dark green|light blue|silver|golden""",
    "animal": """dog|cat|horse|cow|sheep|elephant|giraffe|parrot|duck|squirrel|rabbit|deer|fox|goat
        |zebra|penguin|owl|turtle|bear|lion|seagull|butterfly""",
    "food": """bread|soup|pasta|rice|salad|a sandwich|pancakes|curry|tacos|sushi|a burger|roast
        chicken|lentil stew|an omelette|apple pie|dumplings|noodles|porridge|pizza|chili""",
    "fruit": "apples|bananas|oranges|lemons|pears|grapes|peaches|plums|cherries|mangoes|kiwis",
    "thing": """lamp|book|chair|backpack|umbrella|bicycle|laptop|teapot|vase|guitar|clock|mirror|
        camera|suitcase|blanket|kettle|notebook|phone|ladder|basket|candle|mug""",
    "product": """wireless headphones|a desk lamp|running shoes|a rain jacket|a coffee grinder|a yoga
        mat|a water bottle|a mechanical keyboard|a cast iron pan|a sleeping bag|printer paper|a
        phone case|a kitchen knife set|a cordless drill|a garden hose|a toy train|a board game
        |a space heater|bed sheets|a bike pump|a hunting jacket|a paintball set|ant bait""",
    "topic": """photosynthesis|the French Revolution|compound interest|plate tectonics|the water cycle
        |supply and demand|the solar system|long division|the immune system|the sonnet|the electric
        motor|erosion|the printing press|probability|the food chain|gravity|the past tense|map reading
        |recycling|inflation|the steam engine|the human eye|DNA|magnetism|the Cold War|evaporation""",
    "hobby": """painting|hiking|chess|gardening|pottery|photography|running|knitting|birdwatching
        |cooking|swimming|cycling|astronomy|woodworking|dancing|archery|fencing|judo""",
    "sport": """football|basketball|tennis|rugby|hockey|volleyball|handball|cricket|boxing|judo|
        fencing|baseball|ice hockey|wrestling""",
    "weather": "sunny|cloudy|rainy|windy|foggy|snowy|mild|humid|stormy|clear",
    "job": """teacher|nurse|baker|plumber|engineer|farmer|lawyer|pilot|librarian|carpenter|doctor
        |chef|student|mechanic|accountant|firefighter|police officer|waiter|gardener|cashier""",
    "relative": """mother|father|sister|brother|aunt|uncle|grandmother|grandfather|cousin|daughter
        |son|wife|husband""",
    "file": """report|invoice|notes|budget|schedule|agenda|summary|slides|inventory|contacts|readme
        |settings|users|orders|index|main|utils|config|parser|server|client|test_api|models""",
    "ext": "py|ts|js|md|json|yaml|txt|csv|go|rs|java|html|css|sql|toml",
    "folder": "src|app|docs|tests|lib|scripts|config|data|public|components|services|internal",
    "path": "{folder}/{file}.{ext}|{file}.{ext}|{folder}/{folder}/{file}.{ext}|./{folder}/{file}.{ext}",
    "word": """order|user|item|report|cart|price|token|session|ticket|invoice|event|message|account
        |product|booking|sensor|image|page|score|task|route|comment|profile|payment""",
    # The harmful side: people who are harmed, and identity groups as tests of hate speech use them.
    "victim": """my neighbor|my boss|my ex|your sister|the landlord|that teacher|the witness|my
        coworker|your husband|the old man next door|my roommate|the cashier|that reporter|his wife|the
        coach|her brother|the judge|the bus driver|your classmate|the security guard|the nurse""",
    "group": """women|immigrants|refugees|Muslims|Jews|Christians|Hindus|gay people|lesbians|trans
        people|black people|Asian people|Latinos|disabled people|old people|foreigners|Roma people
        |Arabs|Africans|Mexicans|indigenous people|blind people|deaf people|poor people""",
    "member": """woman|immigrant|refugee|Muslim|Jew|gay man|lesbian|trans woman|black man|Asian woman
        |Latino|disabled person|old person|foreigner|Arab|African|Mexican|Hindu|deaf person""",
    "identity": """a woman|an immigrant|a refugee|Muslim|Jewish|gay|a lesbian|trans|black|Asian
        |Latino|disabled|a foreigner|Arab|African|Mexican|Hindu|deaf|blind|Christian""",
    "insult": """idiot|moron|loser|creep|clown|fool|failure|coward|liar|parasite|pig|rat|freak|
        waste of space|disgrace|nobody|halfwit|piece of trash|scumbag|joke""",
    "slight": """stupid|worthless|pathetic|disgusting|ugly|useless|brainless|filthy|repulsive|
        spineless|dumb|ridiculous|hopeless|miserable|vile|talentless""",
    "hurt": """kill|stab|shoot|strangle|beat up|poison|hurt|attack|burn|cripple|drown|torture|
        hunt down|cut up|run over|choke|murder""",
    "weapon": """a knife|a gun|a pistol|a rifle|a hammer|an axe|a machete|a bat|a brick|a rope|a
        shotgun|a crowbar|a razor|a bottle""",
    "place": """the school|the office|the mall|the church|the mosque|the synagogue|the station|the
        airport|the stadium|the hospital|the club|the market|the playground|the parade""",
    "time": """tonight|tomorrow|at night|after dark|this weekend|when nobody is around|on {day}|
        before sunrise|while they sleep|as soon as the lights go out""",
    "when": """tonight|tomorrow|at noon|after lunch|this weekend|on {day}|before sunrise|next week|in the
        afternoon|at {hour}|when you have time|during the holidays|after work""",
    "drug": """cocaine|heroin|meth|ecstasy|fentanyl|ketamine|opium|crack|LSD|stolen painkillers""",
    "toxin": "rat poison|antifreeze|cyanide|weed killer|crushed pills|bleach|arsenic",
}  # fmt: skip


def split_table(text: str) -> tuple[str, ...]:
    """The entries between bars; bars inside braces are left for the grammar."""
    entries, depth, entry = [], 0, ""
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if letter == "|" and not depth:
            entries.append(entry)
            entry = ""
        else:
            entry += letter
    return tuple(" ".join(part.split()) for part in (*entries, entry) if part.strip())


TABLES: dict[str, tuple[str, ...]] = {name: split_table(text) for name, text in _TEXTS.items()}
