#!/usr/bin/env python3
"""Keys of IKEv2 computed without our code, from RFC 7296 sections 2.13 to 2.18 and RFC 8784 section 3, the hmac module of Python and AES of its package cryptography.

Writes the vectors that the tests of the crate `ike` read (control-plane/ike/tests/vectors/ike-keys.json):

    derive.py > ike-keys.json       prints them
    derive.py --check ike-keys.json fails where the file differs

Before anything is printed, the functions below must give what NIST published for the same derivation (nist-ikev2-kdf.json).
"""

import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

NIST = pathlib.Path(__file__).resolve().parents[3] / "ike/tests/vectors/nist-ikev2-kdf.json"

HASHES = {"prfsha1": "sha1", "prfsha256": "sha256", "prfsha384": "sha384", "prfsha512": "sha512", "prfaesxcbc": "xcbc", "prfaescmac": "cmac"}
# Octets taken from the keying material: AES key, with AES-GCM followed by 4 octets of salt (RFC 5282 section 7.1).
# AH encrypts nothing.
ENCRYPTION_KEYMAT_LEN = {None: 0, "aes128": 16, "aes192": 24, "aes256": 32, "aes128gcm16": 20, "aes192gcm16": 28, "aes256gcm16": 36,
                         "aes128ctr": 20, "aes128ccm16": 19, "3des": 24}
INTEGRITY_KEY_LEN = {None: 0, "sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "aesxcbc": 16, "aescmac": 16}


def prf(hash_name, key, text):
    if hash_name == "xcbc":  # RFC 4434 section 2
        return xcbc(key.ljust(16, b"\0") if len(key) <= 16 else xcbc(bytes(16), key), text)
    if hash_name == "cmac":  # RFC 4615 section 3
        return cmac(key if len(key) == 16 else cmac(bytes(16), key), text)
    return hmac.new(key, text, hash_name).digest()


def prf_len(hash_name):
    return len(prf(hash_name, b"", b""))


def cmac(key, text):
    mac = CMAC(algorithms.AES(key))
    mac.update(text)
    return mac.finalize()


def xcbc(key, text):
    """RFC 3566 section 4."""
    def aes(key):
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update

    def xor(a, b):
        return bytes(x ^ y for x, y in zip(a, b))
    k1, k2, k3 = (aes(key)(bytes([n]) * 16) for n in (1, 2, 3))
    encrypt, state = aes(k1), bytes(16)
    *blocks, last = [text[at:at + 16] for at in range(0, len(text), 16)] or [b""]
    for block in blocks:
        state = encrypt(xor(state, block))
    last = xor(last, k2) if len(last) == 16 else xor((last + b"\x80").ljust(16, b"\0"), k3)
    return encrypt(xor(state, last))


def skeyseed_key(hash_name, ni, nr):
    """RFC 7296 section 2.14: of the nonces the first 64 bits each, where the PRF is one of AES."""
    return ni[:8] + nr[:8] if hash_name in ("xcbc", "cmac") else ni + nr


def prf_plus(hash_name, key, seed, length):
    """RFC 7296 section 2.13: T1 | T2 | ..., Tn = prf(K, Tn-1 | S | n)."""
    output, block, counter = b"", b"", 0
    while len(output) < length:
        counter += 1
        assert counter <= 255
        block = prf(hash_name, key, block + seed + bytes([counter]))
        output += block
    return output[:length]


def cut(octets, names_and_lengths):
    """The keys in the order given, one after the other."""
    keys, at = {}, 0
    for name, length in names_and_lengths:
        keys[name] = octets[at:at + length]
        at += length
    assert at == len(octets)
    return keys


def ike_sa_keys(hash_name, skeyseed, sa, encryption, integrity):
    """RFC 7296 section 2.14."""
    p = prf_len(hash_name)
    a, e = INTEGRITY_KEY_LEN[integrity], ENCRYPTION_KEYMAT_LEN[encryption]
    lengths = [("sk_d", p), ("sk_ai", a), ("sk_ar", a), ("sk_ei", e), ("sk_er", e), ("sk_pi", p), ("sk_pr", p)]
    seed = sa["ni"] + sa["nr"] + sa["spi_i"] + sa["spi_r"]
    return cut(prf_plus(hash_name, skeyseed, seed, sum(n for _, n in lengths)), lengths)


def child_sa(hash_name, sk_d, seed, encryption, integrity):
    """RFC 7296 section 2.17: initiator to responder first; in each direction encryption before integrity."""
    e, a = ENCRYPTION_KEYMAT_LEN[encryption], INTEGRITY_KEY_LEN[integrity]
    keymat = prf_plus(hash_name, sk_d, seed, 2 * (e + a))
    keys = cut(keymat, [("encryption_i", e), ("integrity_i", a), ("encryption_r", e), ("integrity_r", a)])
    return {
        "encryption": encryption,
        "integrity": integrity,
        "encryption_keymat_len": e,
        "integrity_key_len": a,
        "keymat": keymat,
        "initiator_to_responder": {"encryption_key": keys["encryption_i"], "integrity_key": keys["integrity_i"]},
        "responder_to_initiator": {"encryption_key": keys["encryption_r"], "integrity_key": keys["integrity_r"]},
    }


def psk_auth(hash_name, shared_secret, message, nonce_of_the_other, sk_p, identity):
    """RFC 7296 section 2.15: message as sent | nonce of the other side | prf(SK_p, ID payload without its header)."""
    maced_id = prf(hash_name, sk_p, identity)
    padded = prf(hash_name, shared_secret, b"Key Pad for IKEv2")
    return maced_id, prf(hash_name, padded, message + nonce_of_the_other + maced_id)


def with_ppk(hash_name, keys, ppk, rekey, child_seed, child):
    """RFC 8784 section 3: "In this case only the first iteration of prf+ is needed", as every PRF has keys as long as its output."""
    stirred = {name: prf(hash_name, ppk, keys[name] + b"\x01") for name in ("sk_d", "sk_pi", "sk_pr")}
    return {
        "ppk": ppk,
        **stirred,
        "child_sa": child_sa(hash_name, stirred["sk_d"], child_seed, *child),
        "skeyseed_rekey": prf(hash_name, stirred["sk_d"], rekey["g_ir"] + rekey["ni"] + rekey["nr"]),
    }


def octets(label, length):
    """Fixed inputs that look like nothing."""
    return hashlib.shake_256(label.encode()).digest(length)


def case(name, prf_name, ike, child, nonce_len, g_ir_len, shared_secret, leading_zeros=0):
    hash_name = HASHES[prf_name]
    encryption, integrity = ike

    def sa(label):
        g_ir = bytes(leading_zeros) + octets(f"{name} {label} g^ir", g_ir_len - leading_zeros)
        return {
            "ni": octets(f"{name} {label} Ni", nonce_len),
            "nr": octets(f"{name} {label} Nr", nonce_len),
            "spi_i": octets(f"{name} {label} SPIi", 8),
            "spi_r": octets(f"{name} {label} SPIr", 8),
            "g_ir": g_ir,
        }

    first, fresh, rekey = sa("first"), sa("create child"), sa("rekey")
    skeyseed = prf(hash_name, skeyseed_key(hash_name, first["ni"], first["nr"]), first["g_ir"])
    keys = ike_sa_keys(hash_name, skeyseed, first, encryption, integrity)

    # ID_IPV4_ADDR 192.0.2.1 and ID_FQDN: ID type, three reserved octets, data.
    id_i, id_r = bytes([1, 0, 0, 0, 192, 0, 2, 1]), bytes([2, 0, 0, 0]) + b"gateway.example"
    message_1, message_2 = octets(f"{name} message 1", 240), octets(f"{name} message 2", 232)
    maced_id_i, auth_i = psk_auth(hash_name, shared_secret, message_1, first["nr"], keys["sk_pi"], id_i)
    maced_id_r, auth_r = psk_auth(hash_name, shared_secret, message_2, first["ni"], keys["sk_pr"], id_r)

    # The old SA's prf and its SK_d make SKEYSEED (section 2.18).
    skeyseed_rekey = prf(hash_name, keys["sk_d"], rekey["g_ir"] + rekey["ni"] + rekey["nr"])
    return {
        "name": name,
        "prf": prf_name,
        "encryption": encryption,
        "integrity": integrity,
        "prf_len": prf_len(hash_name),
        "encryption_keymat_len": ENCRYPTION_KEYMAT_LEN[encryption],
        "integrity_key_len": INTEGRITY_KEY_LEN[integrity],
        **first,
        "skeyseed": skeyseed,
        **keys,
        "auth": {
            "shared_secret": shared_secret,
            "real_message_1": message_1,
            "real_message_2": message_2,
            "rest_of_init_id_payload": id_i,
            "rest_of_resp_id_payload": id_r,
            "maced_id_for_i": maced_id_i,
            "maced_id_for_r": maced_id_r,
            "auth_i": auth_i,
            "auth_r": auth_r,
        },
        "child_sa": child_sa(hash_name, keys["sk_d"], first["ni"] + first["nr"], *child),
        "with_ppk": with_ppk(hash_name, keys, octets(f"{name} PPK", 32), rekey, first["ni"] + first["nr"], child),
        "child_sa_without_pfs": {
            "ni": fresh["ni"],
            "nr": fresh["nr"],
            **child_sa(hash_name, keys["sk_d"], fresh["ni"] + fresh["nr"], *child),
        },
        "child_sa_with_pfs": {
            "ni": fresh["ni"],
            "nr": fresh["nr"],
            "g_ir_new": fresh["g_ir"],
            **child_sa(hash_name, keys["sk_d"], fresh["g_ir"] + fresh["ni"] + fresh["nr"], *child),
        },
        "rekeyed_ike_sa": {
            **{k: v for k, v in rekey.items() if k != "g_ir"},
            "g_ir_new": rekey["g_ir"],
            "skeyseed": skeyseed_rekey,
            **ike_sa_keys(hash_name, skeyseed_rekey, rekey, encryption, integrity),
        },
    }


def check_against_nist():
    """Stops where NIST's samples come out otherwise. (They write the whole prf+ output; SK_d is its beginning.)"""
    for sample in json.loads(NIST.read_text())["cases"]:
        hash_name, text = sample["hash"], {k: v for k, v in sample.items() if isinstance(v, str)}
        x = {k: bytes.fromhex(v) for k, v in text.items() if k not in ("name", "hash", "prf")}
        length = len(x["keying_material"])
        nonces = x["ni"] + x["nr"]
        skeyseed = prf(hash_name, nonces, x["g_ir"])
        keying_material = prf_plus(hash_name, skeyseed, nonces + x["spi_i"] + x["spi_r"], length)
        sk_d = keying_material[:sample["prf_len"]]
        expected = {
            "skeyseed": skeyseed,
            "keying_material": keying_material,
            "child_keymat": prf_plus(hash_name, sk_d, nonces, length),
            "child_keymat_with_pfs": prf_plus(hash_name, sk_d, x["g_ir_new"] + nonces, length),
            "skeyseed_rekey": prf(hash_name, sk_d, x["g_ir_new"] + nonces),
        }
        for name, value in expected.items():
            if x[name] != value:
                sys.exit(f"{sample['name']}: {name} is not what NIST published")


def vectors():
    return {
        "origin": "control-plane/crypto/tests/vectors/derive.py: RFC 7296 sections 2.13 to 2.18 and RFC 8784 with Python's hmac, no code of ours.",
        "cases": [
            case("gcm 128, sha256, x25519", "prfsha256", ("aes128gcm16", None), ("aes128gcm16", None), 32, 32, b"a pre-shared key"),
            case("gcm 256, sha384, ecp256", "prfsha384", ("aes256gcm16", None), ("aes256gcm16", None), 48, 32, octets("psk", 64)),
            case("gcm 192, sha512, x25519", "prfsha512", ("aes192gcm16", None), ("aes192gcm16", None), 64, 32, b"0123456789abcdef"),
            case("cbc 128, sha256, ecp256", "prfsha256", ("aes128", "sha256"), ("aes128", "sha256"), 16, 32, b"x"),
            case("cbc 256, sha512, x25519", "prfsha512", ("aes256", "sha512"), ("aes256gcm16", None), 32, 32, b"umlauts: \xc3\xa4\xc3\xb6"),
            case("cbc 192, sha384, ecp256", "prfsha384", ("aes192", "sha384"), ("aes256", "sha384"), 32, 32, octets("long", 200)),
            case("cbc, xcbc, ecp256", "prfaesxcbc", ("aes128", "aesxcbc"), ("aes128", "aesxcbc"), 32, 32, b"longer than the sixteen octets"),
            case("cbc, cmac, ecp256", "prfaescmac", ("aes256", "aescmac"), ("aes128ctr", "aescmac"), 32, 32, b"shorter"),
            case("3des, sha1, modp1024", "prfsha1", ("3des", "sha1"), ("3des", "sha1"), 20, 128, b"a pre-shared key"),
            case("ctr, sha256, ecp256", "prfsha256", ("aes128ctr", "sha256"), ("aes128ccm16", None), 32, 32, b"a pre-shared key"),
            case("mixed hashes", "prfsha512", ("aes256", "sha256"), ("aes128", "sha512"), 32, 32, octets("mixed", 32)),
            case("longest nonces", "prfsha256", ("aes256gcm16", None), ("aes128gcm16", None), 256, 32, octets("nonces", 32)),
            case("g^ir begins with zeros", "prfsha256", ("aes256gcm16", None), ("aes256gcm16", None), 32, 32, b"zeros", leading_zeros=3),
            case("ah", "prfsha256", ("aes128gcm16", None), (None, "sha256"), 32, 32, b"a pre-shared key"),
            case("ah, sha384", "prfsha384", ("aes256gcm16", None), (None, "sha384"), 32, 32, b"a pre-shared key"),
        ],
    }


def main():
    check_against_nist()
    text = json.dumps(vectors(), indent=2, default=bytes.hex) + "\n"
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        if pathlib.Path(sys.argv[2]).read_text() != text:
            sys.exit(f"{sys.argv[2]} is not what {sys.argv[0]} prints")
    elif len(sys.argv) == 1:
        sys.stdout.write(text)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
