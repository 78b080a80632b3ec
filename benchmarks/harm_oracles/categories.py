"""Which kind of harm a harmful training text is, where its source tells."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from made_answers.forms import CATEGORIES

if TYPE_CHECKING:
    from data import Text

__all__ = ["CATEGORIES", "category_of", "category_of_words"]

# PyRIT's rows stand in the order of its files, one for each harm.
PYRIT_ROWS = {"hate": range(81, 326), "self_harm": range(512, 605), "sexual": range(605, 683)}
JBB = {
    "Harassment/Discrimination": "harassment",
    "Fraud/Deception": "fraud",
    "Economic harm": "fraud",
    "Sexual/Adult content": "sexual",
    "Malware/Hacking": "dangerous",
    "Privacy": "privacy",
}
# The questions behind an answer, by their words; the first that fits counts.
PROMPT_WORDS = {
    "self_harm": r"suicid|self.harm|anorexi|bulimi|kill (?:my|your)self|end (?:my|your) life",
    "sexual": r"\bsex|porn|rape|erotic|nude|incest|prostitut|revenge.porn",
    "hate": r"racis|sexis|inferior|minorit|ethnic|homosexual|jews|muslim|black people|gender|nazi"
    r"|white suprem|discriminat|holocaust|immigrant",
    "privacy": r"stalk|private information|personal information|spy on|track someone|surveil|dox"
    r"|identity of|blackmail",
    "fraud": r"fraud|scam|counterfeit|forg|launder|tax|insider|identity theft|pyramid|fake (?:id"
    r"|review|news|charity|document)|credit card|bribe|phish|cheat|embezzl|plagiar",
    "violence": r"murder|kill|assassin|torture|assault|attack|shoot|hurt|abus|terror|massacre"
    r"|genocide|kidnap|riot|fight|violen",
    "harassment": r"bully|harass|defam|insult|humiliat|intimidat",
    "dangerous": r"bomb|weapon|drug|meth|poison|hack|malware|virus|explosive|steal|theft|burgl"
    r"|shoplift|smuggl|arson|illegal|pickpocket|break into|pirate|ransomware|cannibal|hotwire",
}


def category_of(text: Text) -> str:
    """One of the shipped categories, or empty: harmless, or not told."""
    if not text.harmful:
        return ""
    match text.source:
        case "hatecheck":
            return "hate"
        case "davidson":
            return "hate" if text.detail == "hate" else "harassment"
        case "pyrit":
            row = int(text.id.rsplit("-", 1)[1])
            return next((name for name, rows in PYRIT_ROWS.items() if row in rows), "")
        case "jbb":
            return JBB.get(text.detail) or category_of_words(text.prompt)
        case "gptfuzz":
            return category_of_words(text.prompt)
        case "xstest" | "short" | "word rows":
            return ""
        case _:
            return text.detail if text.detail in CATEGORIES else ""


def category_of_words(prompt: str) -> str:
    lower = prompt.lower()
    return next((name for name, words in PROMPT_WORDS.items() if re.search(words, lower)), "")
