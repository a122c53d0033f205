#!/usr/bin/env python3
"""Keys of IKEv1 as RFC 2409 writes them, with Python's own hashlib and hmac and no code of Culvert.

    derive_ikev1.py > ikev1-keys.json       prints them
    derive_ikev1.py --check ikev1-keys.json fails where the file differs
"""
import hashlib
import hmac
import json
import struct
import sys


def chance(label, length):
    """Octets that look random and are the same each time."""
    out = b""
    while len(out) < length:
        out += hashlib.sha512(label.encode() + len(out).to_bytes(2, "big")).digest()
    return out[:length]


HASHES = {"md5": hashlib.md5, "sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
CIPHERS = {"aes128": (16, 16), "aes192": (24, 16), "aes256": (32, 16), "3des": (24, 8)}
# Octets of keys in KEYMAT: the cipher's with its salt, the integrity algorithm's.
CHILDREN = [("aes128", "sha256", 16, 32), ("aes256", "sha512", 32, 64), ("3des", "sha1", 24, 20), ("aes256gcm16", None, 36, 0), ("aes128", "sha1", 16, 20), ("3des", "md5", 24, 16)]


def case(name, hash_name, cipher, method, public_len, shared_len):
    new = HASHES[hash_name]

    def prf(key, *parts):
        return hmac.new(key, b"".join(parts), new).digest()

    psk = b"correct horse battery staple"
    cky_i, cky_r = chance(name + "cky_i", 8), chance(name + "cky_r", 8)
    ni, nr = chance(name + "ni", 32), chance(name + "nr", 20)
    g_xi, g_xr = chance(name + "g_xi", public_len), chance(name + "g_xr", public_len)
    g_xy = chance(name + "g_xy", shared_len)
    sai_b = chance(name + "sa", 52)
    idii_b, idir_b = b"\x02\x00\x00\x00a.lab.test", b"\x01\x11\x01\xf4\xc0\x00\x02\x02"

    # Section 5.
    skeyid = prf(psk, ni, nr) if method == "psk" else prf(ni + nr, g_xy)
    skeyid_d = prf(skeyid, g_xy, cky_i, cky_r, b"\x00")
    skeyid_a = prf(skeyid, skeyid_d, g_xy, cky_i, cky_r, b"\x01")
    skeyid_e = prf(skeyid, skeyid_a, g_xy, cky_i, cky_r, b"\x02")
    proof = {"ecdsa-256": hashlib.sha256, "ecdsa-384": hashlib.sha384, "ecdsa-521": hashlib.sha512}.get(method, new)

    def hash_of(*parts):
        # "except using the HMAC version of the hash algorithm associated with the signature method"
        return hmac.new(skeyid, b"".join(parts), proof).digest()

    hash_i = hash_of(g_xi, g_xr, cky_i, cky_r, sai_b, idii_b)
    hash_r = hash_of(g_xr, g_xi, cky_r, cky_i, sai_b, idir_b)

    # Appendix B.
    key_len, block_len = CIPHERS[cipher]
    if key_len > len(skeyid_e):
        k = prf(skeyid_e, b"\x00")
        long = k
        while len(long) < key_len:
            k = prf(skeyid_e, k)
            long += k
        key = long[:key_len]
    else:
        key = skeyid_e[:key_len]
    iv = new(g_xi + g_xr).digest()[:block_len]

    # Section 5.5; the last block of phase 1 is what the chain has come to.
    last, m_id = chance(name + "last", block_len), 0x5F0C1D2E
    mid = struct.pack(">I", m_id)
    phase_2_iv = new(last + mid).digest()[:block_len]
    rest = chance(name + "rest", 120)
    qm_ni, qm_nr = chance(name + "qm_ni", 32), chance(name + "qm_nr", 16)
    hashes = [prf(skeyid_a, mid, rest), prf(skeyid_a, mid, qm_ni, rest), prf(skeyid_a, b"\x00", mid, qm_ni, qm_nr)]

    children = []
    for encryption, integrity, e, a in CHILDREN:
        for qm in (b"", chance(name + "qm_g_xy", shared_len)):
            spi_i, spi_r = chance(name + "spi_i", 4), chance(name + "spi_r", 4)

            def keymat(spi):
                seed = (qm, b"\x03", spi, qm_ni, qm_nr)
                k = prf(skeyid_d, *seed)
                long = k
                while len(long) < e + a:
                    k = prf(skeyid_d, k, *seed)
                    long += k
                return {"encryption": long[:e].hex(), "integrity": long[e : e + a].hex()}

            children.append({
                "encryption": encryption, "integrity": integrity, "g_xy": qm.hex(), "spi_i": spi_i.hex(), "spi_r": spi_r.hex(),
                "to_responder": keymat(spi_r), "to_initiator": keymat(spi_i),
            })
    fields = {
        "cky_i": cky_i, "cky_r": cky_r, "ni": ni, "nr": nr, "g_xi": g_xi, "g_xr": g_xr, "g_xy": g_xy, "sai_b": sai_b, "idii_b": idii_b,
        "idir_b": idir_b, "psk": psk, "skeyid": skeyid, "skeyid_d": skeyid_d, "skeyid_a": skeyid_a, "hash_i": hash_i, "hash_r": hash_r,
        "key": key, "iv": iv, "last": last, "phase_2_iv": phase_2_iv, "rest": rest, "qm_ni": qm_ni, "qm_nr": qm_nr,
    }
    return {
        "name": name, "hash": hash_name, "cipher": cipher, "method": method, "m_id": m_id,
        **{key: value.hex() for key, value in fields.items()},
        "hashes": [h.hex() for h in hashes], "children": children,
    }


cases = [
    case("psk-md5-3des", "md5", "3des", "psk", 96, 96),
    case("psk-sha1-3des", "sha1", "3des", "psk", 256, 256),
    case("psk-sha1-aes256", "sha1", "aes256", "psk", 128, 128),
    case("psk-sha1-aes192", "sha1", "aes192", "psk", 256, 256),
    case("psk-sha256-aes128", "sha256", "aes128", "psk", 256, 256),
    case("psk-sha256-aes256-ecp256", "sha256", "aes256", "psk", 64, 32),
    case("psk-sha512-aes256", "sha512", "aes256", "psk", 512, 512),
    case("signature-sha384-aes192-ecp384", "sha384", "aes192", "signature", 96, 48),
    case("signature-sha256-aes128", "sha256", "aes128", "signature", 256, 256),
    case("ecdsa-256-sha1-aes128", "sha1", "aes128", "ecdsa-256", 256, 256),
    case("ecdsa-384-sha256-aes256", "sha256", "aes256", "ecdsa-384", 96, 48),
    case("ecdsa-521-sha512-aes128", "sha512", "aes128", "ecdsa-521", 64, 32),
]
origin = "control-plane/crypto/tests/vectors/derive_ikev1.py: RFC 2409 sections 5 and 5.5 and appendix B with Python's hashlib and hmac, no code of ours."
text = json.dumps({"origin": origin, "cases": cases}, indent=1) + "\n"
if sys.argv[1:2] == ["--check"]:
    sys.exit(None if open(sys.argv[2], encoding="utf-8").read() == text else f"{sys.argv[2]} differs")
sys.stdout.write(text)
