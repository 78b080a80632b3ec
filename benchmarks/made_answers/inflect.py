"""Forms of the first verb of a phrase: "steal a car" gives "stealing a car" and "stole a car"."""

from __future__ import annotations

_DOUBLING = frozenset(
    "get rob cut stab hit set run put plan forget slip drug plot shop dig stop beg chop grab "
    "skip swap strip trap tap wrap plug hug mug rig con ship hem trim spot bet let sit win "
    "unclog debug kidnap begin zip map log mop scrub pin pop scam fit bet".split()
)
_PAST = dict(
    pair.split(":")
    for pair in """make:made break:broke steal:stole buy:bought sell:sold get:got set:set put:put
    run:ran write:wrote take:took give:gave send:sent build:built tell:told find:found hide:hid
    cut:cut hit:hit lie:lied keep:kept leave:left drive:drove shoot:shot hold:held read:read
    spread:spread bring:brought teach:taught feed:fed bet:bet let:let sit:sat win:won begin:began
    choose:chose drink:drank eat:ate fly:flew forget:forgot freeze:froze go:went grow:grew
    hang:hung know:knew lead:led lend:lent lose:lost meet:met pay:paid ride:rode say:said see:saw
    shake:shook sing:sang sleep:slept speak:spoke spend:spent stand:stood swim:swam swear:swore
    think:thought throw:threw wear:wore catch:caught do:did draw:drew fight:fought burn:burned
    starve:starved blow:blew sew:sewed fold:folded bake:baked cast:cast beat:beat fall:fell light:lit""".split()
)


def gerund(phrase: str) -> str:
    """ "make a cake" -> "making a cake"."""
    verb, rest = _split(phrase)
    if verb in _DOUBLING:
        verb += verb[-1]
    elif verb.endswith("ie"):
        verb = verb[:-2] + "y"
    elif verb.endswith("e") and not verb.endswith(("ee", "ye", "oe")):
        verb = verb[:-1]
    return f"{verb}ing{rest}"


def past(phrase: str) -> str:
    """ "make a cake" -> "made a cake"."""
    verb, rest = _split(phrase)
    if verb in _PAST:
        return _PAST[verb] + rest
    if verb in _DOUBLING:
        return f"{verb}{verb[-1]}ed{rest}"
    if verb.endswith("e"):
        return f"{verb}d{rest}"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ied{rest}"
    return f"{verb}ed{rest}"


def _split(phrase: str) -> tuple[str, str]:
    verb, blank, rest = phrase.partition(" ")
    return verb, blank + rest
