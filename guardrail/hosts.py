"""How the hosts are written from which pictures may be fetched."""

from __future__ import annotations

from typing import Literal

__all__ = ["HOST_RULE", "RemoteMode"]

RemoteMode = Literal["off", "allow_list", "public"]
"""`off` follows no link, `allow_list` those to listed hosts, `public` those to public addresses."""

HOST_RULE = r"^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[1-9][0-9]{0,4})?$"
"""Pattern of a name in lower case: `a.example`, `*.a.example` for all below it, `a.example:8443`
for a port other than 80 and 443. Names beyond ASCII are written as IDNA has them (`xn--...`)."""
