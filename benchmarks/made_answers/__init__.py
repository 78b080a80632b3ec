"""Made answers with labels, for training and measuring oracles of harm."""

from .forms import CATEGORIES
from .make import FORMS, MadeAnswer, form_family, make_answers

__all__ = ["CATEGORIES", "FORMS", "MadeAnswer", "form_family", "make_answers"]
