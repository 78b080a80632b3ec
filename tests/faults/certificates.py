"""A self-signed pair of certificate and key for tests."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from guardrail.server.tls import TlsFiles


def write_pair(folder, name="localhost", *, password=None):
    """A self-signed certificate for localhost and its key, replaced in one step each."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    sealing = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files = TlsFiles(folder / "cert.pem", folder / "key.pem")
    for file, data in (
        (files.certificate, certificate.public_bytes(pem)),
        (files.key, key.private_bytes(pem, pkcs8, sealing)),
    ):
        beside = file.with_suffix(".new")
        beside.write_bytes(data)
        beside.replace(file)
    return files
