"""Policies in tests name fields by their section; which of them are advanced, the schema knows."""

from guardrail.policy.advanced import AdvancedImages, AdvancedSection
from guardrail.policy.schema import Policy


def arrange(sections):
    """A policy's fields as in a file: `{"limits": ...}` becomes `{"advanced": {"limits": ...}}`.

    The fields of a section that stands in both places are told apart one by one.
    """
    arranged, advanced = {}, {}
    for name, value in sections.items():
        if name in AdvancedImages.model_fields:
            advanced.setdefault("images", {})[name] = value
        elif name not in AdvancedSection.model_fields:
            arranged[name] = value
        elif name not in Policy.model_fields:
            advanced[name] = value
        else:
            basic = Policy.model_fields[name].annotation.model_fields
            for field, inner in value.items():
                part = arranged if field in basic else advanced
                part.setdefault(name, {})[field] = inner
    return arranged | ({"advanced": advanced} if advanced else {})
