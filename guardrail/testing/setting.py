"""What all scenarios have in common: a key, a policy, and hence known noise."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.api.chat.request import read_chat
from guardrail.api.strict_json import parse_object
from guardrail.engine.prepared_request import ONLY_ATTEMPT, prepare_request
from guardrail.engine.preprocessing import settle
from guardrail.images.codec import decode_image, parse_data_url
from guardrail.images.keys import NoiseKey
from guardrail.images.limits import ImageLimits
from guardrail.policy.compile import compile_policy
from guardrail.policy.load import load_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guardrail.images.codec import Picture
    from guardrail.policy.schema import Policy

__all__ = ["KEY", "POLICY_FILE", "digest_of", "scenario_policy", "variant_numbers"]

KEY = NoiseKey(bytes(range(32)))
"""The key of every scenario; no secret, and hence for nothing else."""

POLICY_FILE = Path(__file__).with_name("policy.yaml")
_MOST_VARIANTS = 100


@functools.cache
def scenario_policy() -> Policy:
    """The policy of the scenarios."""
    return load_policy(POLICY_FILE)


@functools.cache
def variant_numbers(request: str, urls: tuple[str, ...]) -> Mapping[bytes, int]:
    """The number of each noisy variant of a request, by the digest of its pixels.

    All decisions of scenarios are made under `same_attempt`.

    Args:
        request: the body as JSON.
        urls: the data URLs of its pictures.
    """
    rules, limits = compile_policy(scenario_policy()), ImageLimits()
    chat = read_chat(parse_object(request.encode()), max_images=len(urls), limits=limits).chat
    pictures = [_picture(url, limits) for url in urls]
    prepared = prepare_request(settle(rules, None, chat.model), chat, pictures, ONLY_ATTEMPT)
    variants = (prepared.make_variant(number, rules, KEY) for number in range(_MOST_VARIANTS))
    return {
        digest_of([picture.tobytes() for picture in pictures]): number
        for number, pictures in enumerate(variants)
    }


def digest_of(pictures: Sequence[bytes]) -> bytes:
    """SHA-256 of the pixels of one variant, all its pictures together."""
    return hashlib.sha256(b"".join(pictures)).digest()


def _picture(url: str, limits: ImageLimits) -> Picture:
    media_type, data = parse_data_url(url, limits=limits, param="url")
    return decode_image(data, declared_media_type=media_type, limits=limits, param="url")
