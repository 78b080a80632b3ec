"""Classes of words that requests are made of: a deed, a thing, a group, a frame, a protection.

Beginnings of words; the longest that fits counts. They make the head for requests know "forge" as
it knows "steal": weights are learnt for classes and their pairs, beside those of words.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["word_classes"]

_CLASSES = {
    "deed": """
        abduct abuse ambush arson assassin assault attack blackmail blow brainwash break bribe
        bully burgl bypass cheat clon coerc conceal con counterfeit crack decapit deceiv defam
        defraud derail detonat disabl dox drug dump embezzl evad explod exploit expos extort
        fabricat fake falsif forg fram groom hack harass harm hijack humiliat hurt hunt
        impersonat incit indoctrinat infect infiltrat inject insult intimidat kidnap kill
        launder lie loot lynch manipulat massacr misinform mock molest murder mutilat overdos
        overthrow phish pirat plagiar poison rape ridicul rig riot rob sabotag scam scar seduc
        shoot shoplift smuggl snoop spoof spy stab stalk starv steal strangl swindl tamper
        terroriz threat tortur traffick trick vandal wiretap
    """,
    "thing": """
        ammunition anthrax antivirus backdoor bioweapon blackmarket bomb botnet bribery cocaine
        contraband corpse counterfeit crime criminal darknet ddos deepfake disinform drugs
        dynamite explosiv extremis fentanyl firearm fraud genocid grenad gun hate heist heroin
        hostage incest keylogg knife malwar meth minor misinform missil molotov mutilat napalm
        narcotic nazi nerve nuclear nude opioid opium orgies pedophil phishing piracy poison
        ponzi porn propagand pyramid rapist ransom rebel revenge ricin riot rootkit sarin scam
        sexual shooting slave spyware stolen suicid terror theft thermite torrent toxic toxin
        trafficking trojan uranium vigilant violen virus weapon worm
    """,
    "contempt": """
        antisemit bigot contempt degrad demean dehuman derogat despis discriminat disgust
        hateful hatred inferior islamophob misogyn offens prejudic racis ridicul sexis slander
        slur stereotyp suprem superior xenophob homophob vilif vermin
    """,
    "group": """
        african arab asian black christian disabl ethnic foreign gay gender girl hispanic
        homosexual immigrant indian jew lesbian men migrant minorit muslim nation nationalit
        people race refugee religio trans white women
    """,
    "self": "anorex bulimi myself selfharm suicid cutting overdos starv",
    "illegal": """
        caught consent darkweb detection illegal illicit law permission police secret secretly
        undetect underground unlawful unnotic untrace without authorit enforcement license
        licence
    """,
    "guard": """
        aware avoid comply counsel defend detect educat end fix guard heal help history identif
        law legal learn prevent protect quit recogni recover reduc remov report resist safe
        secur spot stop support surviv symptom therap treat understand warn
    """,
    "frame": """
        advic article build code compos creat design detail develop draft explain generat give
        guide how instruct list make manual messag method outlin plan post produc program provid
        recip script show speech step story strateg suggest teach tell text thread tip tutorial
        way write
    """,
}
_LEAST = 3
_SHORT_ENDING = 2  # letters, beside half of the beginning's: kill-ing, but not con-trol-ler


def _by_beginning() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, words in _CLASSES.items():
        for word in words.split():
            found[word] = (*found.get(word, ()), name)
    return found


_BEGINNINGS = _by_beginning()


@lru_cache(maxsize=4096)
def word_classes(word: str) -> tuple[str, ...]:
    """The classes of a word in lower case; empty for most words."""
    for end in range(len(word), _LEAST - 1, -1):
        found = _BEGINNINGS.get(word[:end])
        if found is not None and len(word) - end <= _SHORT_ENDING + end // 2:
            return found
    return ()
