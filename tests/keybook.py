"""Keys in a YAML file, made as the command makes them."""

from dataclasses import dataclass, field
from pathlib import Path

from guardrail.keys.api_key import ApiKey, KeyLimits, new_key_id, utc_now
from guardrail.keys.authenticator import Authenticator
from guardrail.keys.secret import digest_secret, new_secret
from guardrail.keys.yaml_store import YamlKeyStore

PEPPER = bytes(range(32))


def make_key(secret=None, **fields):
    """A key; limits given as a dict."""
    limits = KeyLimits(**fields.pop("limits", {}))
    values = {"id": new_key_id(), "name": "app", "tenant": "acme", "created": utc_now(), **fields}
    digest = digest_secret(secret or new_secret(), PEPPER)
    return ApiKey(**{"digest": digest, "limits": limits, **values})


@dataclass
class KeyBook:
    """A file of keys and those secrets that were made."""

    file: Path
    secrets: dict = field(default_factory=dict)

    @property
    def store(self):
        return YamlKeyStore(self.file)

    def create(self, **fields):
        """The secret of a new key."""
        secret = new_secret()
        key = make_key(secret, **fields)
        self.store.add(key)
        self.secrets[key.id] = secret
        return secret

    def authenticator(self, **options):
        return Authenticator(self.store, PEPPER, **{"refresh_s": 0.05, **options})

    def id_of(self, secret):
        return next(one for one, known in self.secrets.items() if known == secret)
