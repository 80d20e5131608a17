"""The key with which we sign what we ask of DNS hosts (Domain Connect, "Digitally Sign Requests")."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from accounts.walls import across_organizations
from domains.connect.template import PUBLIC_KEY_LABEL, provider_id, public_key_values
from domains.dkim.keys import decrypt_private_key, encrypt_private_key, make_rsa_key, public_part
from domains.models import ConnectKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`label`: what the DNS host puts before our domain to find the public key."""

    label: str
    private_key: RSAPrivateKey

    def sign(self, query: str) -> str:
        """Base64 of an RSASSA-PKCS1-v1_5 signature with SHA-256 (RFC 8017, 8.2)."""
        return base64.b64encode(self.private_key.sign(query.encode(), PKCS1v15(), SHA256())).decode("ascii")

    def public_records(self) -> list[tuple[str, str]]:
        """The TXT records that publish it, as (name, value): several at one name."""
        return [(f"{self.label}.{provider_id()}", value) for value in public_key_values(public_part(self.private_key))]


@across_organizations()  # it is the platform's
def signing_key() -> SigningKey:
    """This installation's key, made when it is first asked for.

    Raises cryptography.fernet.InvalidToken when FIELD_ENCRYPTION_KEY is not the one that encrypted it.
    """
    stored = ConnectKey.objects.filter(label=PUBLIC_KEY_LABEL).first()
    if stored is None:  # two at once: the first one's stays
        made = encrypt_private_key(make_rsa_key())
        stored, _ = ConnectKey.objects.get_or_create(label=PUBLIC_KEY_LABEL, defaults={"private_key": made})
    private_key = decrypt_private_key(stored.private_key)
    assert isinstance(private_key, RSAPrivateKey)
    return SigningKey(stored.label, private_key)
