"""Certificate authorities, certificates and signing keys of one cluster: ECDSA P-256, private files, short-lived.

Files come in pairs ``<name>.crt`` and ``<name>.key`` (PEM, 0600). A client's pair is also kept in one file
``<name>.pem``, certificate first, which is what :class:`pytest_kina.waiting.Probe` loads.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kina.errors import KinaError
from pytest_kina.files import write_atomic

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

CLIENT_CA = "client-ca"
"""Name of the authority, in a cluster's ``pki`` directory, whose certificates the API server believes."""

_LONGEST_NAME = 64
_BEFORE = dt.timedelta(hours=1)  # a virtual machine's clock may be behind
_VALID = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority that signs: its certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, directory: Path, name: str) -> Authority:
        """A new authority, kept as ``<name>.crt`` and ``<name>.key``. Raises :class:`OSError`."""
        from cryptography import x509

        key = _new_key()
        constraints = (x509.BasicConstraints(ca=True, path_length=0), True)
        certificate = _sign(_name(name, ()), key, None, [constraints, (_usage(authority=True), True)])
        _keep(directory, name, certificate, key)
        return cls(certificate, key)

    @classmethod
    def load(cls, directory: Path, name: str) -> Authority:
        """The authority that :meth:`create` kept.

        Raises :class:`OSError` for a file that is not there, :class:`ValueError` and :class:`TypeError` for one that
        holds something else.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        certificate = x509.load_pem_x509_certificate((directory / f"{name}.crt").read_bytes())
        key = load_pem_private_key((directory / f"{name}.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{directory / name}.key is not a key of ours")
        return cls(certificate, key)

    def server(self, directory: Path, name: str, hosts: Sequence[str]) -> None:
        """A server's pair for the host names and addresses ``hosts``; it may also act as a client (etcd does)."""
        from cryptography import x509

        key = _new_key()
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        extensions = [(names, False), *_leaf("serverAuth", "clientAuth")]
        _keep(directory, name, _sign(_name(name, ()), key, self, extensions), key)

    def client(self, directory: Path, name: str, common_name: str, organisations: Sequence[str] = ()) -> bytes:
        """A client's pair, kept as ``<name>.crt``, ``.key`` and ``.pem``; returns the content of the latter."""
        content = self.issue(common_name, organisations)
        certificate, separator, key = content.partition(b"-----BEGIN PRIVATE KEY-----")
        write_atomic(directory / f"{name}.crt", certificate)
        write_atomic(directory / f"{name}.key", separator + key)
        write_atomic(directory / f"{name}.pem", content)
        return content

    def issue(self, common_name: str, organisations: Sequence[str] = ()) -> bytes:
        """Certificate and key (PEM, in this order) of a client: Kubernetes reads user and groups from its subject.

        Raises :class:`KinaError` for a name that no certificate can hold (X.520: 1 to 64 characters).
        """
        if wrong := [name for name in (common_name, *organisations) if not 1 <= len(name) <= _LONGEST_NAME]:
            raise KinaError(
                f"{wrong[0]!r} has {len(wrong[0])} characters; the names in a certificate have 1 to {_LONGEST_NAME}",
                next_step="use a shorter name, or a ServiceAccount's token for a ServiceAccount",
            )
        key = _new_key()
        certificate = _sign(_name(common_name, organisations), key, self, _leaf("clientAuth"))
        return _pem(certificate) + _private_pem(key)


def issue_client(directory: Path, common_name: str, organisations: Sequence[str] = ()) -> bytes:
    """Certificate and key (PEM, one text) of a user of the cluster that lives in ``directory``.

    Signed with ``<directory>/pki/client-ca``; valid from an hour ago for 30 days, and worthless once the cluster was
    reset. ``common_name`` is the user, ``organisations`` are the groups; each has 1 to 64 characters. Raises
    :class:`KinaError` for others, and :class:`OSError` when the cluster has no such authority.
    """
    return Authority.load(directory / "pki", CLIENT_CA).issue(common_name, organisations)


def create_signer(directory: Path, name: str) -> None:
    """A key pair without certificate (``<name>.key``, ``<name>.pub``), for signing service account tokens."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = _new_key()
    write_atomic(directory / f"{name}.key", _private_pem(key))
    write_atomic(
        directory / f"{name}.pub",
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def _keep(directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    write_atomic(directory / f"{name}.crt", _pem(certificate))
    write_atomic(directory / f"{name}.key", _private_pem(key))


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(common_name: str, organisations: Sequence[str]) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organisations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _leaf(*purposes: str) -> list[tuple[x509.ExtensionType, bool]]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    known = {"serverAuth": ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth": ExtendedKeyUsageOID.CLIENT_AUTH}
    return [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(authority=False), True),
        (x509.ExtendedKeyUsage([known[purpose] for purpose in purposes]), False),
    ]


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: Authority | None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    """A certificate for ``key``; without ``issuer`` it signs itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    now = dt.datetime.now(dt.UTC)
    signer = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, SHA256())
