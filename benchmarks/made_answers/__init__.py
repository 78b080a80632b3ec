"""Made answers with labels, for training and measuring oracles of harm."""

from .forms import CATEGORIES
from .insert import (
    FIELDS,
    POSITIONS,
    DilutedAnswer,
    FieldMessage,
    HarmfulSentence,
    calm_texts,
    harmful_sentences,
    insert_harm,
    insert_in_field,
)
from .long import COMPOSED
from .make import FORMS, MadeAnswer, form_family, make_answers

__all__ = [
    "CATEGORIES",
    "COMPOSED",
    "FIELDS",
    "FORMS",
    "POSITIONS",
    "DilutedAnswer",
    "FieldMessage",
    "HarmfulSentence",
    "MadeAnswer",
    "calm_texts",
    "form_family",
    "harmful_sentences",
    "insert_harm",
    "insert_in_field",
    "make_answers",
]
