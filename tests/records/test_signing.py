"""Signatures: keys made, kept private, and told apart."""

import stat
import sys

import pytest

from guardrail.errors import ConfigError
from guardrail.records.signing import load_or_create_signer, load_verifier

DIGEST = "ab" * 32


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sign.pem"


def test_a_key_is_made_with_its_public_half(path):
    signer = load_or_create_signer(path)
    verifier = load_verifier(f"{path}.pub")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signer.key_id == verifier.key_id
    assert verifier.holds(DIGEST, signer.sign(DIGEST))
    assert load_or_create_signer(path).key_id == signer.key_id


def test_other_digests_signatures_and_keys_do_not_hold(path, tmp_path):
    signer = load_or_create_signer(path)
    verifier = load_verifier(f"{path}.pub")
    signature = signer.sign(DIGEST)
    other = load_or_create_signer(tmp_path / "other.pem")
    assert not verifier.holds("cd" * 32, signature)
    assert not verifier.holds(DIGEST, other.sign(DIGEST))
    for broken in ("", "zz", signature[:-2], signature + "00", "00" * 64):
        assert not verifier.holds(DIGEST, broken)


def test_no_key_is_shown(path):
    signer = load_or_create_signer(path)
    secret = path.read_text().splitlines()[1]
    assert secret not in repr(signer)


def test_keys_open_to_others_are_refused(path):
    load_or_create_signer(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"mode 0644.*chmod 600"):
        load_or_create_signer(path)


@pytest.mark.parametrize("content", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAA==\n"])
def test_files_that_are_no_keys_are_refused(path, content):
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="PEM"):
        load_or_create_signer(path)
    with pytest.raises(ConfigError, match="PEM"):
        load_verifier(path)


def test_another_kind_of_key_is_refused(path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="Ed25519 is needed"):
        load_or_create_signer(path)
    path.write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ConfigError, match="Ed25519 is needed"):
        load_verifier(path)


def test_a_private_key_is_no_public_one(path):
    load_or_create_signer(path)
    with pytest.raises(ConfigError, match="not a public key"):
        load_verifier(path)


def test_paths_that_cannot_be_used_are_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_verifier(tmp_path / "none.pub")
    with pytest.raises(ConfigError, match="cannot be used"):
        load_or_create_signer(tmp_path / "none" / "sign.pem")


def test_a_missing_package_is_named(path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(ConfigError, match=r"pip install 'certified-guardrail\[sign\]'"):
        load_or_create_signer(path)
