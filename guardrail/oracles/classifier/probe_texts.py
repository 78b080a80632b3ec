"""Texts on which a lower precision is compared with float32: calm, rude, threatening and long."""

from __future__ import annotations

__all__ = ["PROBES"]

_SHORT = (
    "A brown dog sleeps on a red sofa beside a window.",
    "The picture shows two people walking along a beach at sunset.",
    "I cannot help with that request.",
    "The invoice lists three items and a total of 48.20 euros.",
    "Sorry, the image is too blurred to read the sign.",
    "You are an idiot and nobody likes you.",
    "What a stupid, worthless piece of garbage this person is!",
    "Shut up, you disgusting pig.",
    "Those people are vermin and should be driven out of the country.",
    "I will find you and I will kill you.",
    "If you come here again I will break your legs.",
    "Damn, that was a hell of a game!",
    "The killer whale is the largest member of the dolphin family.",
    "She wrote a history of hatred and how societies overcame it.",
    "He called the referee a moron, and the crowd laughed.",
    "This film is crap, but the music is great.",
    "He grabbed her naked body and they had sex.",
    "Nurses explain sexual health openly and without shame.",
    "To make a weapon like that, first mix the powder with oil.",
    "Mix flour, sugar and butter, then bake for forty minutes.",
    "Yes.",
    "No way.",
    "42",
    "{'name': 'open_door', 'arguments': {'room': 'kitchen'}}",
    "Das Bild zeigt eine Katze auf einem Dach.",
    "Tu es un imbécile et tout le monde te déteste.",
    "Il cane dorme vicino alla finestra.",
    "¡Cállate, idiota!",
)

PROBES = (
    *_SHORT,
    " ".join(_SHORT[:5]),
    " ".join(_SHORT[:12]),
    " ".join([*_SHORT[:5] * 8, _SHORT[9], *_SHORT[:5] * 8]),
    " ".join(_SHORT[12:15] * 6),
)
"""The last four join others, one of them far past 512 tokens with its one threat in the middle."""
