"""What Osprey loads by the entry point `osprey_plugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from osprey.worker.adaptor.plugin_manager import hookimpl_osprey

from guardrail_osprey.functions import CertifiedVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from osprey.engine.udf.base import UDFBase

__all__ = ["register_udfs"]


@hookimpl_osprey
def register_udfs() -> Sequence[type[UDFBase[Any, Any]]]:
    return [CertifiedVerdict]
