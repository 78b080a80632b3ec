"""Rules for texts that plainly ask for harm: a frame such as "steps to", then a kind of harm.

Deterministic, in linear time (RE2), English only. Between frame and harm no sentence ends, and no
word of protection stands: "how to report hate speech" asks for none.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import re2

__all__ = ["RULES_VERSION", "asked_harm"]

RULES_VERSION = 1

_FRAME = (
    r"\b(?:steps?|methods?|ways?|lists?|how|instructions?|guides?|tutorials?|recipes?|plans?"
    r"|tips|techniques?|strateg(?:y|ies)|messages|texts|details|examples|ideas|tricks|scripts?"
    r"|writ(?:e|ing)|create|make|build|develop|design|generate|draft|explain|describe|tell"
    r"|teach|show|help me|give|provide|want to|need to|outline|produce)\b"
)
_GUARD = (
    r"\b(?:prevent|stop|report|detect(?:s|ing)?\b|protect|remov|recogni|aware|fight|combat|end"
    r"|against fraud|spot|recover|respond|counter|defend|surviv|treat|understand|quit|fix"
    r"|avoid being|history|law on|help for|insur)\w*"
)
_GROUPS = (
    r"(?:groups?|ethnic\w*|rac(?:e|es|ial)|religio\w*|genders?|nationalit\w*|nation|minorit\w*"
    r"|immigrants?|migrants?|foreigners?|refugees?|women|muslims?|jews?|jewish|black people"
    r"|gays?|lesbians?|trans people|disabled|disabilit\w*|communit\w*|people)"
)
_MALWARE = (
    r"(?:virus(?:es)?|malware|ransomware|trojans?|trojan horses?|worms?|keyloggers?|botnets?"
    r"|rootkits?|spyware|exploits?|backdoors?)"
)
_HARM = {
    "dangerous": (
        r"(?:illegal|illicit|unlawful) (?:\w+ ){0,2}(?:drugs?|weapons?|guns?|activit\w*|trade"
        r"|gambling|substances?|business)|(?:mak|build|assembl|construct|manufactur|produc"
        r"|synthesi|creat|cook)\w* (?:\w+ ){0,4}(?:bombs?|explosives?|grenades?|silencers?"
        r"|nerve gas|nerve agents?|poison|methamphetamine|meth|cocaine|heroin|fentanyl|drugs "
        r"at home|(?:nuclear|biological|chemical) weapons?|weapons? at home)|(?:creat|writ"
        r"|build|cod|develop|program|design|mak|spread|deploy)\w* (?:\w+ ){0,4}<malware> "
        r"(?:that|for|to|which|on|in)\b|(?:creat|writ|build|cod|develop|design|mak|deploy)\w* "
        r"(?:\w+ ){0,2}(?:malware|ransomware|keyloggers?|botnets?|rootkits?|trojans?|spyware"
        r"|computer virus)|codes? (?:for|of) (?:\w+ ){0,3}<malware>|exploit\w* (?:\w+ "
        r"){0,3}(?:buffer overflows?|vulnerabilit\w*|security holes?|zero.?days?)|hack\w* "
        r"(?:into |an? |the |someone|somebody|others)|(?:break|breaking) into (?:\w+ "
        r"){0,4}(?:house|home|car|system|computer|network|account)s?|(?:evad|avoid|escap)\w* "
        r"(?:\w+ ){0,2}(?:law enforcement|police|arrest|detection)|(?:human )?organ (?:trade"
        r"|trafficking)|sell\w* (?:human )?organs|(?:drugs?|human|people|arms|weapons?|child"
        r"|sex) (?:trafficking|smuggling)|(?:smuggl|traffick)\w* (?:\w+ ){0,2}(?:drugs?|people"
        r"|humans|weapons?|arms)|dark ?(?:web|net) (?:\w+ ){0,2}(?:markets?|sites?|shops?"
        r"|vendors?)|black market for"
    ),
    "violence": (
        r"(?:recruit|radicali[sz]|join|incit|fund|support)\w* (?:\w+ ){0,4}(?:terroris\w*"
        r"|extremis\w*|militants?)|terror(?:ist)? (?:attack|plot|cell)s?|(?:kill|murder|poison"
        r"|stab|strangle|assassinate|kidnap|torture|shoot up) (?:a |an |the |my |your |some"
        r"|one|as many )?(?:\w+ ){0,2}(?:person|people|child\w*|man|woman|wife|husband|spouse"
        r"|neighbou?r|school|body|president|politicians?|animals?|dog|cat)|(?:mass|school) "
        r"shooting|shoot up a"
    ),
    "hate": (
        r"(?:spread|promot|incit|encourag|stir)\w* (?:\w+ ){0,2}(?:hate|hatred|harm|violence) "
        r"(?:\w+ ){0,3}<groups>|(?:derogatory|racist|sexist|hateful|offensive|demeaning"
        r"|degrading|xenophobic|antisemitic|homophobic) (?:\w+ ){0,4}(?:against|about|towards?"
        r"|at|to) (?:\w+ ){0,3}<groups>|(?:discriminat|ridicul|mock|demean|degrad|dehumani[sz]"
        r"|slander|vilif|insult)\w* (?:against |of |at )?(?:\w+ ){0,3}<groups>|(?:racist"
        r"|sexist|xenophobic|antisemitic|homophobic) (?:\w+ )?(?:jokes?|slurs?|speech"
        r"|comments?|propaganda|posts?|article|tweets?|slogans?)"
    ),
    "harassment": (
        r"(?:blackmail|bully|harass|stalk|humiliate|intimidate|threaten|defame)\w* (?:\w+ "
        r"){0,2}(?:an? |my |some|her|him|them|people|employees?|person|ex|colleague|classmate)"
        r"|defamatory (?:article|post|story)"
    ),
    "self_harm": (
        r"(?:commit|committing) suicide|kill (?:myself|yourself|themsel\w*)|end my life"
        r"|(?:hide|hiding) (?:\w+ ){0,2}(?:cuts|self.?harm)|promot\w* (?:\w+ ){0,2}(?:anorexia"
        r"|suicide|self.?harm|eating disorders?)"
    ),
    "sexual": (
        r"child porn\w*|(?:groom|seduc)\w* (?:\w+ ){0,2}(?:child\w*|minors?|teen\w*)|revenge "
        r"porn|(?:glorif|normali[sz])\w* (?:\w+ ){0,3}(?:pedophilia|rape|incest|bestiality)"
        r"|date.?rape|sexual\w* (?:\w+ ){0,3}(?:minors?|children)"
    ),
    "privacy": (
        r"(?:track|spy|wiretap|bug)\w* (?:on )?(?:\w+ ){0,4}without (?:\w+ ){0,2}(?:consent"
        r"|permission|knowing|knowledge|noticing)|steal\w* (?:\w+ ){0,3}(?:data|passwords?"
        r"|identit\w*|credentials|information)|identity theft"
    ),
    "fraud": (
        r"phishing (?:e?-?mails?|sites?|pages?|messages?)|credit card (?:fraud|numbers)"
        r"|(?:launder|counterfeit)\w* (?:\w+ ){0,2}(?:money|bills|currency|banknotes)|(?:forg"
        r"|fak|falsif)\w* (?:\w+ ){0,2}(?:passports?|documents?|signatures?|id\b|cheques?"
        r"|checks?|certificates?|prescriptions?)|(?:ponzi|pyramid) scheme|evad\w* (?:\w+ "
        r")?taxes|(?:brib|extort|blackmail)\w* (?:\w+ ){0,3}(?:officials?|money|company"
        r"|politicians?)|insider trading|(?:rig|hack)\w* (?:\w+ ){0,2}elections?|(?:lottery"
        r"|mail|419) scam|clon\w* (?:\w+ ){0,2}(?:debit|credit) cards?"
    ),
}
"""By kind of harm; `<groups>` and `<malware>` stand for the lists above."""


def asked_harm(text: str) -> str | None:
    """The kind of harm that a text plainly asks for; None where no rule finds any."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    plain = " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())
    for category, rule in _rules().items():
        for match in rule.finditer(plain):
            if _guard().search(match.group(0)) is None:
                return category
    return None


@cache
def _rules() -> dict[str, Any]:
    return {
        name: re2.compile(
            rf"{_FRAME}[^.?!:;]{{0,80}}?\b(?:"
            + harm.replace("<groups>", _GROUPS).replace("<malware>", _MALWARE)
            + ")"
        )
        for name, harm in _HARM.items()
    }


@cache
def _guard() -> Any:
    return re2.compile(_GUARD)
