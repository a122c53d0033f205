#!/usr/bin/python3
"""make.py: an authority, certificates of it, and answers of OCSP about them, by python3-cryptography. All as of 2026-06-21; writes vectors.json."""
import base64
import datetime
import json
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 6, 21)
DAY = datetime.timedelta(days=1)
AT = "http://ocsp.example/"


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(name, key, issuer, issuer_key, extensions, serial):
    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(NOW - 100 * DAY).not_valid_after(NOW + 100 * DAY)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def answer(about, status, by, by_key, this=NOW - DAY, until=NOW + DAY, shown=()):
    revoked = NOW - 2 * DAY if status == ocsp.OCSPCertStatus.REVOKED else None
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about, issuer=CA, algorithm=hashes.SHA1(), cert_status=status, this_update=this, next_update=until,
        revocation_time=revoked, revocation_reason=None)
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by)
    if shown:
        builder = builder.certificates(list(shown))
    return builder.sign(by_key, hashes.SHA256())


ca_key, leaf_key, responder_key = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
CA = certificate("CA", ca_key, "CA", ca_key, [(x509.BasicConstraints(True, None), True)], 1)
asks = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(AT))])
alternative = x509.SubjectAlternativeName([x509.DNSName("gw.example")])
leaf = certificate("gateway", leaf_key, "CA", ca_key, [(alternative, False), (asks, False)], 0x80BEEF)
other = certificate("another", leaf_key, "CA", ca_key, [(alternative, False)], 3)
signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
delegate = certificate("responder", responder_key, "CA", ca_key, [(signing, False)], 4)
no_delegate = certificate("a server", responder_key, "CA", ca_key, [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)], 5)
self_made = certificate("responder", responder_key, "responder", responder_key, [(signing, False)], 6)

GOOD, REVOKED, UNKNOWN = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED, ocsp.OCSPCertStatus.UNKNOWN
answers = {
    "good": answer(leaf, GOOD, CA, ca_key),
    "revoked": answer(leaf, REVOKED, CA, ca_key),
    "unknown": answer(leaf, UNKNOWN, CA, ca_key),
    "good, of the moment": answer(leaf, GOOD, CA, ca_key, NOW, None),
    "good by a delegate": answer(leaf, GOOD, delegate, responder_key, shown=[delegate]),
    "revoked by a delegate": answer(leaf, REVOKED, delegate, responder_key, shown=[delegate]),
    "too old": answer(leaf, GOOD, CA, ca_key, NOW - 3 * DAY, NOW - 2 * DAY),
    "of the moment, an hour ago": answer(leaf, GOOD, CA, ca_key, NOW - DAY / 24, None),
    "of the future": answer(leaf, GOOD, CA, ca_key, NOW + DAY, NOW + 2 * DAY),
    "about another certificate": answer(other, GOOD, CA, ca_key),
    "by a delegate that is not shown": answer(leaf, GOOD, delegate, responder_key),
    "by somebody with another certificate of the authority": answer(leaf, GOOD, no_delegate, responder_key, shown=[no_delegate]),
    "by somebody who made a certificate": answer(leaf, GOOD, self_made, responder_key, shown=[self_made]),
    "no answer": ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER),
}
request = ocsp.OCSPRequestBuilder().add_certificate(leaf, CA, hashes.SHA1()).build()
der = serialization.Encoding.DER
text = lambda octets: base64.b64encode(octets).decode()
pem = leaf_key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
pathlib.Path(__file__).with_name("vectors.json").write_text(json.dumps({
    "now": int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp()), "at": AT,
    "authority": text(CA.public_bytes(der)), "certificate": text(leaf.public_bytes(der)), "key": pem,
    "request": text(request.public_bytes(der)),
    "answers": {name: text(one.public_bytes(der)) for name, one in answers.items()},
}, indent=1) + "\n")
