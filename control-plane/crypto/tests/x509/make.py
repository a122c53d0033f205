#!/usr/bin/python3
"""make.py: an authority of Ed25519, a certificate of it, and seeds for the fuzz target x509, by python3-cryptography. All as of 2026-06-21.

Writes authority.der, authority.pem (its key), leaf.der and leaf.pem here, and the seeds into ../../fuzz/corpus/x509: what is signed of certificates,
lists of revocations and answers of OCSP, after an octet that says which it is."""
import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "../../fuzz/corpus/x509"
NOW = datetime.datetime(2026, 6, 21)
DAY = datetime.timedelta(days=1)
DER = serialization.Encoding.DER


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"), x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(name, key, issuer, issuer_key, extensions, serial):
    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(NOW - 100 * DAY).not_valid_after(NOW + 100 * DAY)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, None)


def keep(name, key, made):
    (HERE / f"{name}.der").write_bytes(made.public_bytes(DER))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (HERE / f"{name}.pem").write_bytes(pem)


def seed(kind, octets):
    for name in [f"{kind}-{len(list(CORPUS.iterdir())):03}"]:
        (CORPUS / name).write_bytes(bytes([kind]) + octets)


ca_key, leaf_key = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
ca = certificate("CA", ca_key, "CA", ca_key, [(x509.BasicConstraints(True, None), True)], 1)
uri = x509.UniformResourceIdentifier
asks = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, uri("http://ocsp.example/"))])
points = x509.CRLDistributionPoints([x509.DistributionPoint([uri("http://pki.example/ca.crl")], None, None, None)])
name = x509.SubjectAlternativeName([x509.DNSName("gw.example")])
leaf = certificate("gateway", leaf_key, "CA", ca_key, [(name, False), (asks, False), (points, False)], 0x80BEEF)
keep("authority", ca_key, ca)
keep("leaf", leaf_key, leaf)

for extensions in [
    [],
    [(name, False), (asks, False), (points, False)],
    [(x509.SubjectAlternativeName([
        x509.RFC822Name("a@example.org"), x509.IPAddress(ipaddress.ip_address("192.0.2.1")), x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        x509.DirectoryName(named("other")), x509.OtherName(ObjectIdentifier("1.2.3"), b"\x0c\x01x"), x509.RegisteredID(ObjectIdentifier("1.2.3")),
        uri("urn:x")]), True)],
    [(x509.BasicConstraints(True, 0), True), (x509.NameConstraints([x509.DNSName("example")], [x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))]), True)],
    [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ObjectIdentifier("1.3.6.1.5.5.7.3.17")]), True)],
    [(x509.KeyUsage(True, True, False, False, False, False, False, False, False), True), (x509.SubjectKeyIdentifier(b"12345678"), False)],
    [(x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True)],
    [(x509.CRLDistributionPoints([x509.DistributionPoint(None, None, frozenset([x509.ReasonFlags.key_compromise]), [x509.DirectoryName(named("CA"))])]), False)],
]:
    made = certificate("gateway", leaf_key, "CA", ca_key, extensions, 7)
    seed(0, made.public_bytes(DER))
    seed(1, made.tbs_certificate_bytes)

for numbers, extensions in [
    ([], []), ([0x80BEEF], []), ([1, 2, 3], [(x509.CRLNumber(7), False)]),
    ([], [(x509.IssuingDistributionPoint([uri("http://pki.example/ca.crl")], None, False, False, None, False, False), True)]),
    ([], [(x509.IssuingDistributionPoint(None, None, True, False, None, False, False), True)]),
    ([], [(x509.IssuingDistributionPoint(None, None, False, False, frozenset([x509.ReasonFlags.ca_compromise]), True, False), True)]),
    ([], [(x509.DeltaCRLIndicator(3), True)]),
]:
    builder = x509.CertificateRevocationListBuilder().issuer_name(named("CA")).last_update(NOW - DAY).next_update(NOW + DAY)
    for number in numbers:
        entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(NOW - DAY)
        builder = builder.add_revoked_certificate(entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), False).build())
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    seed(2, builder.sign(ca_key, None).tbs_certlist_bytes)

STATUS = ocsp.OCSPCertStatus
for status, until in [(STATUS.GOOD, NOW + DAY), (STATUS.REVOKED, NOW + DAY), (STATUS.UNKNOWN, None), (STATUS.GOOD, None)]:
    gone = NOW - DAY if status == STATUS.REVOKED else None
    for encoding in [ocsp.OCSPResponderEncoding.HASH, ocsp.OCSPResponderEncoding.NAME]:
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=leaf, issuer=ca, algorithm=hashes.SHA1(), cert_status=status, this_update=NOW - DAY, next_update=until, revocation_time=gone,
            revocation_reason=None).responder_id(encoding, ca)
        made = builder.sign(ca_key, None)
        seed(3, made.tbs_response_bytes)
        seed(4, made.public_bytes(DER))
