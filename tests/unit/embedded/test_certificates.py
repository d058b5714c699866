"""Certificates: what they say, who believes them, and who can read them."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import NameOID

from pytest_kina.certificates import CLIENT_CA, Authority, create_signer, issue_client
from pytest_kina.errors import KinaError


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> x509.Certificate | None:
    """Let both ends talk over a real socket pair; returns the client's certificate as the server saw it."""
    seen: list[bytes | None] = []
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(here, server_side=True) as secured:
                seen.append(secured.getpeercert(binary_form=True))
                secured.sendall(b"x")
        except (ssl.SSLError, OSError):
            here.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with there, client.wrap_socket(there, server_hostname=host) as secured:
            assert secured.recv(1) == b"x"
    finally:
        thread.join()
    return x509.load_der_x509_certificate(seen[0]) if seen and seen[0] else None


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server and a client that trust the authority in ``directory`` and demand each other's certificate."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.crt"))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(directory / "server.crt", directory / "server.key")
    client = ssl.create_default_context(cafile=str(directory / "ca.crt"))
    client.load_cert_chain(directory / "me.pem")
    return server, client


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    """An authority with a server's and a client's pair."""
    authority = Authority.create(tmp_path, "ca")
    authority.server(tmp_path, "server", ["localhost", "127.0.0.1", "::1"])
    authority.client(tmp_path, "me", "jane", ["developers", "testers"])
    return tmp_path


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_both_sides_believe_each_other(pki: Path, host: str) -> None:
    """A server is believed under each of its names, and sees user and groups of the client."""
    server, client = contexts(pki)
    seen = handshake(server, client, host)
    assert seen is not None
    assert [part.value for part in seen.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["jane"]
    groups = [part.value for part in seen.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups == ["developers", "testers"]


def test_another_name_is_not_believed(pki: Path) -> None:
    """A certificate counts for the names in it only."""
    server, client = contexts(pki)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "example.com")


def test_another_authority_of_the_same_name_is_not_believed(pki: Path, tmp_path: Path) -> None:
    """A new authority does not honour what the one before it signed: that is what a reset is built on."""
    later = tmp_path / "later"
    later.mkdir()
    again = Authority.create(later, "ca")
    again.server(later, "server", ["localhost"])
    again.client(later, "me", "jane")
    server, _ = contexts(later)
    client = ssl.create_default_context(cafile=str(later / "ca.crt"))
    client.load_cert_chain(pki / "me.pem")
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        handshake(server, client, "localhost")


def test_a_client_cannot_serve(pki: Path) -> None:
    """A client's certificate is refused as a server's."""
    server, client = contexts(pki)
    server.load_cert_chain(pki / "me.pem")
    with pytest.raises(ssl.SSLError):
        handshake(server, client, "localhost")


def test_validity_begins_an_hour_ago_and_lasts_30_days(pki: Path) -> None:
    """A clock that is a little behind believes them, and none is good for longer than a month."""
    now = dt.datetime.now(dt.UTC)
    for name in ("ca", "server", "me"):
        certificate = x509.load_pem_x509_certificate((pki / f"{name}.crt").read_bytes())
        assert abs(now - dt.timedelta(hours=1) - certificate.not_valid_before_utc) < dt.timedelta(minutes=5)
        assert abs(now + dt.timedelta(days=30) - certificate.not_valid_after_utc) < dt.timedelta(minutes=5)
        assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)


def test_all_files_are_private(pki: Path) -> None:
    """Nothing is readable by others, certificates included."""
    create_signer(pki, "signer")
    assert {stat.S_IMODE(path.stat().st_mode) for path in pki.iterdir()} == {0o600}
    assert len(list(pki.iterdir())) == 9


def test_a_signers_halves_belong_together(tmp_path: Path) -> None:
    """The public file holds the public half of the private one."""
    create_signer(tmp_path, "signer")
    private = load_pem_private_key((tmp_path / "signer.key").read_bytes(), password=None)
    public = load_pem_public_key((tmp_path / "signer.pub").read_bytes())
    assert private.public_key() == public


def test_issue_client_signs_with_the_clusters_authority(tmp_path: Path) -> None:
    """A user's pair is one text, certificate first, signed by the cluster's client authority."""
    (tmp_path / "pki").mkdir()
    authority = Authority.create(tmp_path / "pki", CLIENT_CA)
    text = issue_client(tmp_path, "jane", ["developers"])
    assert text.startswith(b"-----BEGIN CERTIFICATE-----")
    certificate = x509.load_pem_x509_certificate(text)
    certificate.verify_directly_issued_by(authority.certificate)
    key = load_pem_private_key(text[text.index(b"-----BEGIN PRIVATE KEY") :], password=None)
    assert key.public_key() == certificate.public_key()


def test_issue_client_without_a_cluster_is_an_oserror(tmp_path: Path) -> None:
    """There is nothing to sign with where no cluster is."""
    with pytest.raises(FileNotFoundError):
        issue_client(tmp_path, "jane")


@pytest.mark.parametrize(("user", "group"), [("", "g"), ("u" * 65, "g"), ("u", ""), ("u", "g" * 65)])
def test_a_name_that_no_certificate_holds_is_refused(tmp_path: Path, user: str, group: str) -> None:
    """Names of 1 to 64 characters fit into a certificate; others are refused with their length."""
    authority = Authority.create(tmp_path, "ca")
    with pytest.raises(KinaError, match=r"has (0|65) characters"):
        authority.issue(user, [group])
    assert authority.issue("u" * 64, ["g" * 64])


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A foreign key in the authority's place is found out before anything is signed with it."""
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    Authority.create(tmp_path, "ca")
    foreign = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "ca.key").write_bytes(foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(TypeError, match="is not a key of ours"):
        Authority.load(tmp_path, "ca")
