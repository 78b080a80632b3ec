"""Who may reach the server: API keys, TLS, and where it listens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guardrail.doctor.finding import Finding, error, ok, warning
from guardrail.doctor.places import examine_database, is_remote
from guardrail.errors import GuardrailError
from guardrail.keys.api_key import utc_now
from guardrail.keys.opening import open_key_store, pepper_file
from guardrail.keys.pepper import read_pepper
from guardrail.server.bind import check_bind, is_loopback
from guardrail.server.tls import TlsFiles, open_tls

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["examine_access"]


def examine_access(options: Mapping[str, object]) -> list[Finding]:
    """What the options of `serve` say of keys, TLS and the address, by the option's long name."""
    keys = options.get("--keys")
    pepper = options.get("--pepper")
    findings = [_examine_bind(options)]
    if keys is not None:
        findings.append(_examine_pepper(str(keys), None if pepper is None else Path(str(pepper))))
        findings.append(_examine_keys(str(keys)))
    certificate, key = options.get("--tls-cert"), options.get("--tls-key")
    if certificate is not None and key is not None:
        findings.append(_examine_tls(TlsFiles(Path(str(certificate)), Path(str(key)))))
    elif keys is not None and not is_loopback(str(options["--host"])):
        remedy = "put TLS in front, or give --tls-cert and --tls-key"
        findings.append(warning("tls", "keys and content come in unencrypted", remedy))
    return findings


def _examine_bind(options: Mapping[str, object]) -> Finding:
    host, takes_keys = str(options["--host"]), options.get("--keys") is not None
    anyone = bool(options.get("--allow-anyone"))
    if takes_keys and anyone:
        return error("address", "--keys and --allow-anyone contradict each other", "give one")
    try:
        check_bind(host, takes_keys=takes_keys, allow_anyone=anyone)
    except GuardrailError as fault:
        return error("address", str(fault))
    if takes_keys:
        return ok("address", f"{host}, for callers with a key")
    if is_loopback(host):
        return ok("address", f"{host}, for whoever is on this machine")
    remedy = "make sure that the network lets in only those who may, or make keys"
    return warning("address", f"whoever reaches {host} may ask, at the upstream's price", remedy)


def _examine_pepper(keys: str, given: Path | None) -> Finding:
    try:
        file = given or pepper_file(keys)
        read_pepper(file)
    except GuardrailError as fault:
        return error("pepper", str(fault))
    return ok("pepper", f"{file} is there, and private")


def _examine_keys(keys: str) -> Finding:
    if is_remote(keys):
        return examine_database("keys", keys)
    if not Path(keys.removeprefix("sqlite:///")).exists():
        return error("keys", "there is no such file", "make a key by 'guardrail keys create'")
    if not keys.endswith((".yaml", ".yml")):  # opening a database may change it
        return ok("keys", "the database is there; 'guardrail keys list' shows what it holds")
    try:
        now = utc_now()
        count = sum(key.is_valid(now) for key in open_key_store(keys).read())
    except GuardrailError as fault:
        return error("keys", str(fault))
    if not count:
        remedy = "make one by 'guardrail keys create'"
        return error("keys", "none of its keys is valid: nobody can ask", remedy)
    return ok("keys", f"{count} valid")


def _examine_tls(files: TlsFiles) -> Finding:
    try:
        open_tls(files)
    except GuardrailError as fault:
        return error("tls", str(fault))
    return ok("tls", "certificate and key belong together")
