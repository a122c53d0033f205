#!/usr/bin/python3
"""scapy as a filter: one JSON request a line on standard input, one JSON answer a line on standard output. Beside what ../../esp/tests/scapy/esp_peer.py
answers ("seal", "open"):

    {"op": "build", "packet": EXPRESSION}                    -> {"octets": HEX}, such as Ether()/IP(dst='192.0.2.1')/ICMP()
    {"op": "read", "octets": HEX, "value": EXPRESSION}       -> {"value": JSON}, of an Ethernet frame p, such as p[ARP].psrc
    {"op": "checksums", "octets": HEX}                       -> {"value": BOOL}: whether lengths and checksums of a frame are those that scapy computes
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../esp/tests/scapy"))
import esp_peer  # noqa: E402
from scapy.layers import inet, inet6  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402
from scapy.utils6 import in6_mactoifaceid, in6_ptop  # noqa: E402

OURS = [ARP, Ether, Raw, bytes, in6_mactoifaceid, in6_ptop, inet.ICMP, inet.IP, inet.IPerror, inet.TCP, inet.UDP]
OURS += [inet.fragment, inet.defragment, inet6.fragment6, inet6.defragment6]
NAMES = {thing.__name__: thing for thing in OURS} | {name: layer for name, layer in vars(inet6).items() if name.startswith(("IPv6", "ICMPv6"))}


def build(request):
    return {"octets": bytes(eval(request["packet"], NAMES)).hex()}


def read(request):
    frame = Ether(bytes.fromhex(request["octets"]))
    return {"value": eval(request["value"], NAMES, {"p": frame})}


def checksums(request):
    octets = bytes.fromhex(request["octets"])
    frame = Ether(octets)
    computed = [(inet.IP, ("len", "chksum")), (inet6.IPv6, ("plen",)), (inet.UDP, ("len", "chksum")), (inet.ICMP, ("chksum",))]
    for layer, fields in computed:
        if layer in frame:
            for field in fields:
                frame[layer].delfieldval(field)
    return {"value": bytes(frame) == octets}


def main():
    operations = {"seal": esp_peer.seal, "open": esp_peer.open_, "build": build, "read": read, "checksums": checksums}
    for line in sys.stdin:
        try:
            request = json.loads(line)
            answer = operations[request["op"]](request)
        except Exception as error:  # noqa: BLE001
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
