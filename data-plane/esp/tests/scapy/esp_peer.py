#!/usr/bin/python3
"""An ESP and AH peer made of scapy, as a filter: one JSON request a line on standard input, one JSON answer a line on standard output.

    {"op": "seal", "sa": SA, "number": N, "inner": HEX}                   -> {"wire": HEX}
    {"op": "seal", "sa": SA, "number": N, "inner": HEX, "fault": FAULT}   -> {"wire": HEX}, with one thing wrong
    {"op": "open", "sa": SA, "high": H, "wire": HEX}                      -> {"inner": HEX, "spi": S, "sequence": N}, or {"error": TEXT}

SA: {"spi": S, "cipher": NAME, "key": HEX (cipher key and salt), "iv_len": N, "auth": null (AEAD) or NAME, "auth_key": HEX, "icv_len": N, "esn": BOOL, "source": IP, "destination": IP (both IPv4 or both IPv6), "udp": null or [SPORT, DPORT]}, seen from the sender.
Where it has "transport": true, it is in transport mode, where "inner" is the packet as it would travel without ESP. Where it has "protocol": "ah", it is AH,
which has neither cipher nor UDP.
N is the 64-bit sequence number, H its high half (0 without ESN). "wire" is the outer packet, "inner" the inner one, each of
either IP version. "open" also holds the outer header against the one that scapy builds: DSCP, ECN and DF of the inner packet, TTL or hop limit 64;
in transport mode against that of the packet, and of AH every octet.

FAULT: "icv" (last octet flipped), "payload" (a protected octet flipped), "runt" (one octet less than the shortest packet; an AH that calls itself a word
shorter), "spi" (another SPI, authenticated as such), and of ESP alone "padding" (pattern wrong, ICV right), "next_header" (6 for TCP, ICV right), "dummy" (59, ICV right).

Replays and packets out of the window are made by sending what this prints again, or with an old number.

scapy 2.5 gets the UDP header of NAT traversal wrong (its length, and opening at all), so that header is put on and taken off here. It does not check
the padding it opens. It leaves the high half of an extended sequence number out of what a separate integrity algorithm of ESP covers, and has neither
AES-XCBC nor AES-GMAC: those ICVs are computed here, by the package cryptography alone.
"""
import json
import sys
import warnings

warnings.filterwarnings("ignore")
from scapy.layers.inet import IP, UDP  # noqa: E402
from scapy.layers.inet6 import IPv6  # noqa: E402
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402
from scapy.layers.ipsec import (AH, AUTH_ALGOS, CRYPT_ALGOS, ESP, AuthAlgo, CryptAlgo, IPSecIntegrityError,  # noqa: E402
                                SecurityAssociation, split_for_transport)
from scapy.packet import Raw  # noqa: E402

UDP_PROTOCOL, ESP_PROTOCOL, AH_PROTOCOL = 17, 50, 51


# GMAC encrypts nothing, and has the IV that NULL has not.
CRYPT_ALGOS["AES-GMAC"] = CryptAlgo("AES-GMAC", cipher=None, mode=None, iv_size=8, salt_size=4)


class Integrity(AuthAlgo):
    """An integrity algorithm of ESP that scapy has not, or not for extended sequence numbers. `icv` maps a key and the packet from the SPI on to the ICV."""

    def __init__(self, icv, icv_len):
        super().__init__("", None, None, icv_len)
        self.icv = icv

    def sign(self, pkt, key, esn_en=False, esn=0):
        pkt[ESP].data += self.icv(key, bytes(pkt[ESP]))[:self.icv_size]
        return pkt

    def verify(self, pkt, key, esn_en=False, esn=0):
        esp = bytes(pkt)
        if self.icv(key, esp[:-self.icv_size])[:self.icv_size] != esp[-self.icv_size:]:
            raise IPSecIntegrityError()


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def xcbc(key, message):
    """RFC 3566 section 4."""
    def aes(key):
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
    k1, k2, k3 = (aes(key)(bytes([n]) * 16) for n in (1, 2, 3))
    encrypt, state = aes(k1), bytes(16)
    *blocks, last = [message[at:at + 16] for at in range(0, len(message), 16)] or [b""]
    for block in blocks:
        state = encrypt(xor(state, block))
    last = xor(last, k2) if len(last) == 16 else xor((last + b"\x80").ljust(16, b"\0"), k3)
    return encrypt(xor(state, last))


class Xcbc:
    """The same as scapy wants it of a MAC."""

    def __init__(self, key, *_):
        self.key, self.message = key, b""

    def update(self, octets):
        self.message += octets

    def finalize(self):
        return xcbc(self.key, self.message)


AUTH_ALGOS["AES-XCBC-96"] = AuthAlgo("AES-XCBC-96", Xcbc, lambda: None, 12, key_size=(16,))


def integrity(sa, high):
    """What `Integrity` computes for the SA, where scapy does not: `high` is the half of the sequence number that is not sent."""
    behind = high.to_bytes(4, "big") if sa["esn"] else b""
    if sa["cipher"] == "AES-GMAC":
        # RFC 4543 section 3.3: with ESN the whole number stands where the half is otherwise.
        return lambda key, esp: AESGCM(key[:-4]).encrypt(key[-4:] + esp[8:16], b"", esp[:4] + behind + esp[4:])
    if sa["auth"] and sa["esn"]:
        def icv(key, esp):
            # RFC 4303 section 2.2.1: the high half is covered behind the packet.
            mac = AUTH_ALGOS[sa["auth"]].new_mac(key)
            mac.update(esp + behind)
            return mac.finalize()
        return icv
    return None


class Faulty:
    """A cipher of scapy's that spoils the plaintext after padding it."""

    def __init__(self, algorithm, spoil):
        self.algorithm = algorithm
        self.spoil = spoil

    def __getattr__(self, name):
        return getattr(self.algorithm, name)

    def pad(self, esp):
        return self.spoil(self.algorithm.pad(esp))


def wrong_padding(esp):
    # Where there is no padding, a block of it is added first: the packet stays aligned.
    esp.padlen = esp.padlen or 16
    esp.padding = bytes(range(1, esp.padlen)) + b"\xaa"
    return esp


def next_header(value):
    def spoil(esp):
        esp.nh = value
        return esp
    return spoil


SPOIL = {"padding": wrong_padding, "next_header": next_header(6), "dummy": next_header(59)}


def version(sa):
    return IPv6 if ":" in sa["source"] else IP


def parse(packet):
    return IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)


def is_ah(sa):
    return sa.get("protocol") == "ah"


def outer_header(sa, inner):
    """What a tunnel puts in front by default: RFC 4301 section 5.1.2, RFC 6040 section 4.1. In transport mode, the header of the packet."""
    protocol = AH_PROTOCOL if is_ah(sa) else UDP_PROTOCOL if sa["udp"] else ESP_PROTOCOL
    if sa.get("transport"):
        return split_for_transport(inner, protocol)[0]
    ends = {"src": sa["source"], "dst": sa["destination"]}
    six = inner.version == 6
    traffic_class = inner.tc if six else inner.tos
    if version(sa) is IPv6:
        return IPv6(tc=traffic_class, fl=0, hlim=64, nh=protocol, **ends)
    return IP(tos=traffic_class, flags=2 if six else inner.flags.value & 2, ttl=64, proto=protocol, **ends)


def encapsulate(sa, inner, esp):
    """The outer packet. Over IPv4 the UDP checksum is zero (RFC 3948 section 2.1), over IPv6 it is computed (RFC 8200 section 8.1)."""
    if not sa["udp"]:
        return outer_header(sa, inner) / Raw(esp)
    sport, dport = sa["udp"]
    return outer_header(sa, inner) / UDP(sport=sport, dport=dport, chksum=None if version(sa) is IPv6 else 0) / Raw(esp)


def association(sa, high, fault=None):
    spi = sa["spi"] ^ 0x00f00000 if fault == "spi" else sa["spi"]
    icv = integrity(sa, high)
    result = SecurityAssociation(
        ESP, spi=spi, crypt_algo=sa["cipher"], crypt_key=bytes.fromhex(sa["key"]), crypt_icv_size=None if sa["auth"] else sa["icv_len"],
        auth_algo=None if icv else sa["auth"], auth_key=bytes.fromhex(sa["auth_key"]),
        tunnel_header=None if sa.get("transport") else version(sa)(src=sa["source"], dst=sa["destination"]), esn_en=sa["esn"], esn=high if sa["esn"] else 0)
    if icv:
        result.auth_algo, result.auth_key = Integrity(icv, sa["icv_len"]), bytes.fromhex(sa["auth_key"] or sa["key"])
    if fault in SPOIL:
        result.crypt_algo = Faulty(CRYPT_ALGOS[sa["cipher"]], SPOIL[fault])
    return result


def flip(octets, at):
    octets = bytearray(octets)
    octets[at] ^= 1
    return bytes(octets)


def ah_association(sa, high, inner=None, fault=None):
    """For AH the tunnel's header must be whole: the ICV covers it."""
    spi = sa["spi"] ^ 0x00f00000 if fault == "spi" else sa["spi"]
    tunnel_header = None if sa.get("transport") else outer_header(sa, inner) if inner else version(sa)()
    return SecurityAssociation(
        AH, spi=spi, auth_algo=sa["auth"], auth_key=bytes.fromhex(sa["auth_key"]), tunnel_header=tunnel_header, esn_en=sa["esn"],
        esn=high if sa["esn"] else 0)


def seal_ah(request):
    sa, number, fault = request["sa"], request["number"], request.get("fault")
    if fault not in (None, "icv", "payload", "runt", "spi"):
        raise ValueError("unknown fault %s" % fault)
    inner = parse(bytes.fromhex(request["inner"]))
    sender = ah_association(sa, number >> 32, inner, fault)
    sender.seq_num = number & 0xffffffff
    sealed = sender.encrypt(inner, seq_num=sender.seq_num)
    wire, at = bytes(sealed), len(sealed) - len(sealed[AH])
    if fault == "icv":
        wire = flip(wire, at + 12 + sa["icv_len"] - 1)
    elif fault == "payload":
        wire = flip(wire, -1)
    elif fault == "runt":
        wire = wire[:at + 1] + bytes([wire[at + 1] - 1]) + wire[at + 2:]
    return {"wire": wire.hex()}


def open_ah(request):
    sa, high, wire = request["sa"], request["high"], bytes.fromhex(request["wire"])
    outer = parse(wire)
    if type(outer) is not version(sa):
        return {"error": "IP version %d" % outer.version}
    try:
        inner = bytes(ah_association(sa, high).decrypt(parse(wire)))
    except IPSecIntegrityError:
        return {"error": "integrity"}
    sender = ah_association(sa, high, parse(inner))
    sender.seq_num = outer[AH].seq
    if sender.tunnel_header and outer.version == 4:
        sender.tunnel_header.id = 0 if sender.tunnel_header.flags.value & 2 else outer.id
    expected = bytes(sender.encrypt(parse(inner), seq_num=sender.seq_num))
    if expected != wire:
        return {"error": "outer packet %s, not %s" % (wire.hex(), expected.hex())}
    return {"inner": inner.hex(), "spi": outer[AH].spi, "sequence": outer[AH].seq}


def seal(request):
    if is_ah(request["sa"]):
        return seal_ah(request)
    sa, number, fault = request["sa"], request["number"], request.get("fault")
    if fault not in (None, "icv", "payload", "runt", "spi", *SPOIL):
        raise ValueError("unknown fault %s" % fault)
    inner = parse(bytes.fromhex(request["inner"]))
    sender = association(sa, number >> 32, fault)
    # scapy takes a sequence number of 0, which an extended one may have as its low half, for "none given" and then uses this one.
    sender.seq_num = number & 0xffffffff
    sealed = sender.encrypt(inner, seq_num=sender.seq_num, iv=number.to_bytes(16, "big")[16 - sa["iv_len"]:])
    esp = bytes(sealed[ESP])
    if fault == "icv":
        esp = flip(esp, -1)
    elif fault == "payload":
        esp = flip(esp, 16)
    elif fault == "runt":
        esp = esp[:8 + sa["iv_len"] + 2 + sa["icv_len"] - 1]
    return {"wire": bytes(encapsulate(sa, inner, esp)).hex()}


def open_(request):
    if is_ah(request["sa"]):
        return open_ah(request)
    sa, wire = request["sa"], bytes.fromhex(request["wire"])
    outer = parse(wire)
    if type(outer) is not version(sa):
        return {"error": "IP version %d" % outer.version}
    header, _, esp = split_for_transport(outer, ESP_PROTOCOL)
    esp = bytes(esp)[8 if sa["udp"] else 0:]
    plain = header / ESP(esp)
    try:
        inner = association(sa, request["high"]).decrypt(parse(bytes(plain)))
    except IPSecIntegrityError:
        return {"error": "integrity"}
    expected = encapsulate(sa, parse(bytes(inner)), esp)
    if outer.version == 4 and not sa.get("transport"):
        expected.id = 0 if expected.flags.value & 2 else outer.id
    if bytes(expected) != wire:
        return {"error": "outer packet %s, not %s" % (wire.hex(), bytes(expected).hex())}
    return {"inner": bytes(inner).hex(), "spi": plain[ESP].spi, "sequence": plain[ESP].seq}


def main():
    # RFC 3566 section 4.6, case 4.
    assert xcbc(bytes(range(16)), bytes(range(20))).hex() == "47f51b4564966215b8985c63055ed308"
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = {"seal": seal, "open": open_}[request["op"]](request)
        except Exception as error:  # noqa: BLE001
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
