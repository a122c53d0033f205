#!/usr/bin/env python3
"""RSA signatures as IKEv1 has them (RFC 2409 section 5.1): PKCS #1 block type 1 around a hash, raised to the private exponent by Python's integers.

    rsa_bare.py > rsa-bare.json       prints them
    rsa_bare.py --check rsa-bare.json fails where the file differs
"""
import hashlib
import hmac
import json
import sys

# Two primes of a key that is for this test alone.
P = int(
    "e63779380717fa5e50fdc08a4e03bc2e58c2fb44f90e6d3372121068342b16ba29a450840f17f27ebf8eeafada603ec45d4cee76d2118927f5c9d050dbf8a044"
    "55110d71d1ee8cf0678ac681762dabf791c8929c465803692e5008160abf25f53e93a4ee25fd5d87446abcfdc785fd76fb69eb07db2f05dec11a98ed1450b71b",
    16,
)
Q = int(
    "b5c40ca980c08c0e2f37507276a4e12ebe46c9247f3d0cc127e92dc32845505f71913711782070a66106902fb477f9cbadd81881e083b68c3a97cd250223b90c"
    "0dc032af9f686d12c53e125c8862b2cef200ef332e52779ff712e735fd1cea63d6d5dd5c55a98e381fa5bb1ff5579b17ebbec7706552c8c1bc123fb6fc77c203",
    16,
)
N, E = P * Q, 65537
D = pow(E, -1, (P - 1) * (Q - 1))
SIZE = (N.bit_length() + 7) // 8


def der(tag, content):
    length = len(content)
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    head = bytes([length]) if length < 128 else bytes([0x80 | len(octets)]) + octets
    return bytes([tag]) + head + content


def integers(*numbers):
    """SEQUENCE of INTEGERs."""
    return der(0x30, b"".join(der(2, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in numbers))


def sign(digest):
    block = b"\x00\x01" + b"\xff" * (SIZE - 3 - len(digest)) + b"\x00" + digest
    signature = pow(int.from_bytes(block, "big"), D, N)
    assert pow(signature, E, N).to_bytes(SIZE, "big") == block
    return signature.to_bytes(SIZE, "big")


# RSAPrivateKey and RSAPublicKey (RFC 8017 appendix A.1).
private = integers(0, N, E, D, P, Q, D % (P - 1), D % (Q - 1), pow(Q, -1, P))
public = integers(N, E)
cases = []
for name in ["md5", "sha1", "sha256", "sha384", "sha512"]:
    digest = hmac.new(b"SKEYID", b"g^xi | g^xr | CKY-I | CKY-R | SAi_b | IDii_b", getattr(hashlib, name)).digest()
    cases.append({"hash": digest.hex(), "signature": sign(digest).hex()})
origin = "control-plane/crypto/tests/vectors/rsa_bare.py: RFC 2409 section 5.1 and RFC 8017 section 9.2 with Python's integers, no code of ours."
text = json.dumps({"origin": origin, "private": private.hex(), "public": public.hex(), "cases": cases}, indent=1) + "\n"
if sys.argv[1:2] == ["--check"]:
    sys.exit(None if open(sys.argv[2], encoding="utf-8").read() == text else f"{sys.argv[2]} differs")
sys.stdout.write(text)
