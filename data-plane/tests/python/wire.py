#!/usr/bin/python3
"""Raw access to network interfaces, as a filter.

    wire.py INTERFACE...

Prints "ready" once it listens, then each frame that arrives as "INTERFACE HEX". Reads, one a line:

    send INTERFACE HEX             sends a frame
    host INTERFACE ADDRESS MAC     from now on a host of this IPv4 address answers ARP there
"""
import selectors
import socket
import sys
import threading

ETH_P_ALL = 3
PACKET_OUTGOING = 4
ARP_HEADER = bytes.fromhex("0001080006040001")


def listen(interface):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE: no burst is lost while Python is slow
    sock.bind((interface, 0))
    return sock


def arp_reply(frame, hosts):
    """The reply to an ARP request for one of the hosts."""
    if frame[12:14] != b"\x08\x06" or frame[14:22] != ARP_HEADER:
        return None
    mac = hosts.get(frame[38:42])
    if mac is None:
        return None
    return frame[6:12] + mac + b"\x08\x06" + ARP_HEADER[:7] + b"\x02" + mac + frame[38:42] + frame[22:32]


def receive(sockets, hosts):
    selector = selectors.DefaultSelector()
    for interface, sock in sockets.items():
        selector.register(sock, selectors.EVENT_READ, interface)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            frame, origin = key.fileobj.recvfrom(65536)
            if origin[2] == PACKET_OUTGOING:
                continue
            print(key.data, frame.hex(), flush=True)
            reply = arp_reply(frame, hosts[key.data])
            if reply:
                key.fileobj.send(reply)


def main():
    sockets = {interface: listen(interface) for interface in sys.argv[1:]}
    hosts = {interface: {} for interface in sockets}
    threading.Thread(target=receive, args=(sockets, hosts), daemon=True).start()
    for line in sys.stdin:
        verb, interface, *rest = line.split()
        if verb == "send":
            sockets[interface].send(bytes.fromhex(rest[0]))
        elif verb == "host":
            hosts[interface][socket.inet_aton(rest[0])] = bytes.fromhex(rest[1].replace(":", ""))
        else:
            sys.exit("unknown verb " + verb)


if __name__ == "__main__":
    main()
