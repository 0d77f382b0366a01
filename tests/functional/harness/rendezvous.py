# SPDX-License-Identifier: BSD-2-Clause
"""Which address has a mailbox: the formula of proxy/base/rendezvous.h once more, with no code of postern."""
import struct

WORD = (1 << 64) - 1


def _rotate(word, bits):
    return (word << bits | word >> (64 - bits)) & WORD


def _round(v0, v1, v2, v3):
    v0 = (v0 + v1) & WORD
    v1 = _rotate(v1, 13) ^ v0
    v0 = _rotate(v0, 32)
    v2 = (v2 + v3) & WORD
    v3 = _rotate(v3, 16) ^ v2
    v0 = (v0 + v3) & WORD
    v3 = _rotate(v3, 21) ^ v0
    v2 = (v2 + v1) & WORD
    v1 = _rotate(v1, 17) ^ v2
    return v0, v1, _rotate(v2, 32), v3


def siphash13(key0, key1, octets):
    state = (key0 ^ 0x736f6d6570736575, key1 ^ 0x646f72616e646f6d,
             key0 ^ 0x6c7967656e657261, key1 ^ 0x7465646279746573)
    padded = octets + bytes(7 - len(octets) % 8) + bytes([len(octets) & 255])
    for word, in struct.iter_unpack("<Q", padded):
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ word)
        state = v0 ^ word, v1, v2, v3
    v0, v1, v2, v3 = state
    state = v0, v1, v2 ^ 255, v3
    for _ in range(3):
        state = _round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _hash(before, octets):
    return siphash13(0x706f737465726e20 ^ before, 0x73706f6f6c73756d, octets)


def _cost(number):
    """-log2(number / 2^64) with 28 bits behind the point."""
    number |= 1
    zeros = 65 - number.bit_length()
    mantissa, fraction = (number << (zeros - 1) & WORD) >> 32, 0
    for _ in range(28):
        mantissa = mantissa * mantissa >> 31
        bit = mantissa >> 32
        mantissa >>= bit
        fraction = fraction << 1 | bit
    return (zeros << 28) - fraction


def mailbox(address, delimiter=None, keeps_case=False):
    """The number that stands for it; parts of at most 256 octets."""
    local, domain = address.rsplit("@", 1)
    if delimiter and delimiter in local[1:]:
        local = local[:local.index(delimiter, 1)]
    number = _hash(_hash(0, (local if keeps_case else local.lower()).encode()),
                   domain.lower().encode())
    return number or 1


def order(addresses, number):
    """The addresses, the mailbox's own first; `addresses`: a dictionary of weights."""
    def rank(address):
        name = _hash(0, address.encode())
        claim = _hash(name, struct.pack("<Q", number))
        return _cost(claim) / addresses[address], -claim
    return sorted(addresses, key=rank)


def owner(addresses, address, **options):
    return order(addresses, mailbox(address, **options))[0]
