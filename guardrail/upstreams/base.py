"""What an upstream is: the interface between the engine and any model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from guardrail.types import Answer, Chat, Json, Pixels, image_placeholder

__all__ = [
    "StreamingUpstream",
    "Upstream",
    "Watch",
    "answers_late",
    "asks_model",
    "attempt_salt",
    "fill_images",
    "is_deterministic",
    "known_models",
    "price_share",
    "provider_model",
    "undrawn_statuses",
]

Watch: TypeAlias = Callable[[Mapping[str, Json], int], Awaitable[bool]]
"""Told of an assistant message as it grows and of its length in characters; True breaks it off."""


@runtime_checkable
class Upstream(Protocol):
    """A model that answers a chat whose pictures are given as pixels.

    `complete` may be called many times at once; an implementation that computes locally gathers
    such calls into batches. Cancelling a call must stop its work or drop its result. One call asks
    the model once: whether it is asked again is decided by the engine.

    Eight attributes are optional, see `is_deterministic`, `asks_model`, `undrawn_statuses`,
    `provider_model`, `known_models`, `answers_late`, `attempt_salt` and `price_share`.
    """

    @property
    def name(self) -> str:
        """What a person would call it, for logs and certificates; holds no key."""

    @property
    def revision(self) -> str:
        """A short text that fixes which model answers, as far as that is known."""

    async def complete(self, chat: Chat, pictures: Sequence[Pixels], *, seed: int) -> Answer:
        """One answer to the chat with these pictures in place of its placeholders.

        `seed` (63 bits) is different for every variant and the same when a call is repeated; a
        model in this process draws its samples by it, a remote one is sent it only where it is
        known to honour seeds. A seed among the chat's parameters is never sent.

        Raises:
            UpstreamError: no usable answer came; `transient` says whether a repeat may help, and
                `undrawn` whether it is certain that no answer was drawn.
        """

    async def models(self) -> list[str]:
        """The names that a client may put into `model`. Raises UpstreamError."""

    async def aclose(self) -> None:
        """Releases connections, threads and memory."""


@runtime_checkable
class StreamingUpstream(Upstream, Protocol):
    """A model whose answers can be watched while it writes them."""

    async def complete_watched(
        self, chat: Chat, pictures: Sequence[Pixels], *, seed: int, watch: Watch
    ) -> Answer:
        """As `complete`; where `watch` breaks the answer off, what came of it, without usage.

        Raises:
            UpstreamError: as `complete`. What `watch` raises goes through.
        """


def is_deterministic(upstream: object) -> bool:
    """Whether the same chat, pictures and seed give the same answer bit for bit.

    An upstream says so by an attribute `deterministic` that is True. A call to it may be repeated
    after any fault: the second answer is the first one.
    """
    return getattr(upstream, "deterministic", False) is True


def asks_model(upstream: object) -> bool:
    """Whether a call to it is one to a model, which is counted and paid for.

    An upstream that has its answer already says so by an attribute `asks_model` that is False.
    """
    return getattr(upstream, "asks_model", True) is not False


def answers_late(upstream: object) -> bool:
    """Whether its answers take hours, so that no limit of time holds for calls and decisions.

    An upstream says so by an attribute `answers_late` that is True. Nobody who waits for one answer
    can use it, but only a job that waits for many.
    """
    return getattr(upstream, "answers_late", False) is True


def attempt_salt(upstream: object) -> bytes | None:
    """From what the attempts of a job are derived, whose calls are found again after a kill.

    An upstream that finds them has an attribute `attempt_salt`: random bytes, the same in every run
    of the job and in no other one. None where every decision draws an attempt of its own.
    """
    salt: bytes | None = getattr(upstream, "attempt_salt", None)
    return salt


def price_share(upstream: object) -> float:
    """What a call costs, as a share of the model's price; 1 by default."""
    share: float = getattr(upstream, "price_share", 1.0)
    return share


def undrawn_statuses(upstream: object) -> frozenset[int]:
    """The HTTP statuses by which an upstream says that it drew no answer; empty by default.

    429 is among them where the upstream answers for itself (`direct`), others where its operator
    lists them.
    """
    given: frozenset[int] = getattr(upstream, "undrawn_statuses", frozenset())
    return given


def provider_model(upstream: object, model: str) -> str:
    """What the provider calls the model that a client asks for: the same name, unless mapped.

    An upstream that maps names has a method `provider_model`.
    """
    name: Callable[[str], str] | None = getattr(upstream, "provider_model", None)
    return model if name is None else name(model)


def known_models(upstream: object) -> tuple[str, ...]:
    """The names that clients may use, as far as they are known without asking anybody."""
    given: tuple[str, ...] = getattr(upstream, "known_models", ())
    return given


def fill_images(
    messages: Sequence[Mapping[str, Json]], urls: Sequence[str]
) -> list[dict[str, Json]]:
    """The messages with the placeholder of picture i replaced by `urls[i]`; copies what changes."""
    by_placeholder = {image_placeholder(i): url for i, url in enumerate(urls)}
    return [_fill_message(message, by_placeholder) for message in messages]


def _fill_message(message: Mapping[str, Json], urls: Mapping[str, str]) -> dict[str, Json]:
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    return {**message, "content": [_fill_part(part, urls) for part in content]}


def _fill_part(part: Json, urls: Mapping[str, str]) -> Json:
    image = part.get("image_url") if isinstance(part, Mapping) else None
    if not isinstance(image, Mapping) or image.get("url") not in urls:
        return part
    return {**part, "image_url": {**image, "url": urls[image["url"]]}}
