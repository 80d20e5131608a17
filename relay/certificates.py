"""Self-signed certificates for servers that were given none."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from accounts.files import one_writer, write_whole

LIFETIME = datetime.timedelta(days=3650)
CLOCK_SKEW = datetime.timedelta(days=1)


def self_signed(directory: Path, hostname: str) -> tuple[Path, Path]:
    """The certificate and the private key (PEM) of a host name, made on the first call and the same ever after.

    Processes that race get the same pair. ECDSA P-256: half the handshake of RSA-2048. The key's file has mode 0600.
    """
    certificate, key = directory / f"{hostname}.crt", directory / f"{hostname}.key"
    if not (certificate.exists() and key.exists()):
        directory.mkdir(parents=True, exist_ok=True)
        with one_writer(directory):
            if not (certificate.exists() and key.exists()):
                certificate_pem, key_pem = _make(hostname)
                write_whole(key, key_pem)
                write_whole(certificate, certificate_pem, mode=0o644)  # last: whoever sees it sees the key too
    return certificate, key


def _make(hostname: str) -> tuple[bytes, bytes]:
    """RFC 5280; with the extensions that OpenSSL's strict mode wants, so that clients may pin the file as their CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    # RFC 5280, A.1: a common name holds at most 64 characters; clients read the alternative names.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(host) for host in dict.fromkeys((hostname, "localhost"))]
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
