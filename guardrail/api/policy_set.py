"""The policies that decide at one time, each with its service, and which of them a request gets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from guardrail.api.strict_json import JsonLimits
from guardrail.canonical import canonical_json
from guardrail.errors import RequestError
from guardrail.policy.compile import policy_digest
from guardrail.policy.known_pictures import read_known_pictures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardrail.api.service import Service
    from guardrail.policy.policy_list import Asked, ListedPolicy
    from guardrail.policy.schema import Policy

__all__ = ["POLICY_HEADER", "PolicySet", "ServedPolicy", "policies_digest"]

POLICY_HEADER = "x-guardrail-policy"
"""By which a caller asks for a stricter policy, and learns which one decided."""


@dataclass(frozen=True, slots=True)
class ServedPolicy:
    """A policy with what decides by it."""

    listed: ListedPolicy
    service: Service

    @property
    def name(self) -> str:
        return self.listed.policy.name


@dataclass(frozen=True)  # no slots: what is asked for every request is found once
class PolicySet:
    """The strictest policy first; the last one takes every request that is left.

    Attributes:
        digest: SHA-256 (hex) of all policies and what they match, the version's name.
        policies: at least one.
    """

    digest: str
    policies: tuple[ServedPolicy, ...]

    @property
    def last(self) -> Service:
        """The service of requests that no other policy matches."""
        return self.policies[-1].service

    @cached_property
    def max_body_bytes(self) -> int:
        """The largest of all policies: which one decides is in the body."""
        return max(one.listed.policy.advanced.limits.max_body_bytes for one in self.policies)

    @cached_property
    def json_limits(self) -> JsonLimits:
        """The largest of all policies."""
        limits = [one.service.request_rules.json for one in self.policies]
        return JsonLimits(
            max_values=max(each.max_values for each in limits),
            max_text_bytes=max(each.max_text_bytes for each in limits),
        )

    def choose(self, asked: Asked, wanted: str = "") -> Service:
        """The service that decides a request.

        Args:
            asked: what is known of the request.
            wanted: the policy that the caller's key is bound to; empty for none.

        Raises:
            RequestError: the caller names a policy that is not there or looser than its own, or
                its key is bound to one that is not there.
        """
        own = self._find_bound(wanted) if wanted else self._match(asked)
        name = asked.headers.get(POLICY_HEADER)
        if name is None:
            return self.policies[own].service
        named = self._find(name)
        if named is None or named > own:
            raise RequestError(
                f"{POLICY_HEADER}: names no policy that is at least as strict as the one that "
                "holds for this request; leave it out, or name a stricter one",
                param=POLICY_HEADER,
                code="policy_not_allowed",
            )
        return self.policies[named].service

    def list_allowed(self, wanted: str) -> tuple[ServedPolicy, ...]:
        """The policies that a key may ask for, whatever the request, the strictest first.

        Args:
            wanted: the policy that the key is bound to, the loosest that it may; empty for none.

        Raises:
            RequestError: the key is bound to one that is not there.
        """
        return self.policies[: self._find_bound(wanted) + 1] if wanted else self.policies

    def _find_bound(self, name: str) -> int:
        own = self._find(name)
        if own is None:
            raise RequestError(
                "the policy of this API key is not among those of the server; ask its operator",
                status=403,
                code="policy_not_found",
            )
        return own

    def _match(self, asked: Asked) -> int:
        *before, _ = self.policies
        return next((i for i, one in enumerate(before) if one.listed.fits(asked)), len(before))

    def _find(self, name: str) -> int | None:
        return next((i for i, one in enumerate(self.policies) if one.name == name), None)


def policies_digest(listed: Sequence[ListedPolicy]) -> str:
    """SHA-256 (hex) of what several policies say and of which requests they decide."""
    content = [
        {
            "policy": policy_digest(one.policy),
            "overrides": one.policy.overrides,
            "known_pictures": _describe_known(one.policy),
            "match": one.match.model_dump(exclude_none=True),
            "except": None if one.unless is None else one.unless.model_dump(exclude_none=True),
        }
        for one in listed
    ]
    return hashlib.sha256(canonical_json(content)).hexdigest()


def _describe_known(policy: Policy) -> str:
    """What is on the lists now: a change of them is a new version. Raises ConfigError."""
    known = read_known_pictures(policy)
    return "" if known is None else known.digest
