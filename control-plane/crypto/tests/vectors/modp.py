#!/usr/bin/env python3
"""Key exchanges in the MODP groups 1, 2, 5, 14, 15 and 16 without our code: the primes from the formula of RFC 7296 and RFC 3526, powers from Python.

    modp.py > modp.json         prints the vectors (it searches for those with zeros in front, which takes some seconds)
    modp.py --check modp.json   fails where the file holds anything but what the formula and pow() give
"""

import hashlib
import json
import sys

# Number, bits, and the constant c of: 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c).
GROUPS = [(1, 768, 149686), (2, 1024, 129093), (5, 1536, 741804), (14, 2048, 124476), (15, 3072, 1690314), (16, 4096, 240904)]
EXPONENT_LEN = 64


def pi_times_two_to(bits):
    """[2^bits pi] by Machin's formula, with 64 bits more than are kept."""
    one = 1 << (bits + 64)

    def arctan_of_inverse(x):
        total = term = one // x
        square, divisor, sign = x * x, 3, -1
        while term:
            term //= square
            total += sign * (term // divisor)
            divisor, sign = divisor + 2, -sign
        return total

    return (4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))) >> 64


def prime(bits, constant):
    p = 2**bits - 2**(bits - 64) - 1 + 2**64 * (pi_times_two_to(bits - 130) + constant)
    # By Fermat: a wrong digit would not leave two primes.
    assert pow(3, p - 1, p) == 1 and pow(3, (p - 1) // 2 - 1, (p - 1) // 2) == 1
    return p


def exponent(number, name, counter):
    return int.from_bytes(hashlib.sha512(f"group {number}, {name}, {counter}".encode()).digest(), "big")


def exchange(number, bits, p, of_i, of_r, what):
    octets = lambda value, length: value.to_bytes(length, "big").hex()
    i, r = exponent(number, "i", of_i), exponent(number, "r", of_r)
    return {
        "what": what, "group": number, "counters": [of_i, of_r],
        "i": octets(i, EXPONENT_LEN), "r": octets(r, EXPONENT_LEN),
        "gi": octets(pow(2, i, p), bits // 8), "gr": octets(pow(2, r, p), bits // 8),
        "gir": octets(pow(2, i * r, p), bits // 8),
    }


def first(counters, holds):
    return next(counter for counter in counters if holds(counter))


def exchanges(number, bits, constant):
    p = prime(bits, constant)
    yield exchange(number, bits, p, 0, 0, "any")
    # A secret that begins with a zero octet: one in 256 does.
    of_i = pow(2, exponent(number, "i", 0), p)
    counter = first(range(1, 10000), lambda c: pow(of_i, exponent(number, "r", c), p) >> (bits - 8) == 0)
    yield exchange(number, bits, p, 0, counter, "the secret begins with zero")
    counter = first(range(1, 10000), lambda c: pow(2, exponent(number, "i", c), p) >> (bits - 8) == 0)
    yield exchange(number, bits, p, counter, 0, "the public value begins with zero")


def check(path):
    vectors = json.load(open(path))["vectors"]
    assert len(vectors) == 3 * len(GROUPS)
    for vector in vectors:
        number, bits, constant = next(group for group in GROUPS if group[0] == vector["group"])
        expected = exchange(number, bits, prime(bits, constant), *vector["counters"], vector["what"])
        if vector != expected:
            sys.exit(f"{path} differs: group {number}, {vector['what']}")


def main():
    if sys.argv[1:2] == ["--check"]:
        return check(sys.argv[2])
    vectors = [vector for group in GROUPS for vector in exchanges(*group)]
    print(json.dumps({"origin": "modp.py beside this file: RFC 7296, RFC 3526 and pow() of Python", "vectors": vectors}, indent=1))


if __name__ == "__main__":
    main()
