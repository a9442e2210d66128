"""Canonical bytes are those of the reference implementation, whichever way they are written."""

import random
import struct

import pytest
import rfc8785

from sandbox.canonical import canonical

EDGES = [
    0.0,
    -0.0,
    1.0,
    1e15,
    1e-4,
    9.999e-5,
    1e-6,
    1e-7,
    1e-9,
    9.99e-10,
    1e16,
    1e21,
    5e-324,
    float("inf"),
    float("nan"),
    2**53,
    2**53 - 1,
    -(2**53),
    True,
    False,
    None,
    '\x7f\x1f"\\',
    1e-5,
    -1.25e-5,
    1.5e-7,
    -3e-9,
    [1e-5, "1e-05", '\\"1e-07', {"e-05\\": 2e-6, '"': 3.25e-8}, "1e-09\\\\"],
    "\u2028\ue000",
    "\U0001f600",
    "\ud800",
]


def drawn(rng, depth=0):
    """One value: nested objects and lists of edges, random bits as floats, integers around the
    bounds, text of all planes.
    """
    kind = rng.random()
    if depth < 3 and kind < 0.25:
        return {text(rng): drawn(rng, depth + 1) for _ in range(rng.randint(0, 4))}
    if depth < 3 and kind < 0.4:
        return [drawn(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    if kind < 0.6:
        return rng.choice(
            [
                struct.unpack("d", rng.randbytes(8))[0],
                rng.uniform(-1, 1) * 10 ** rng.randint(-30, 25),
            ]
        )
    return rng.choice([rng.choice(EDGES), rng.randint(-(2**54), 2**54), text(rng)])


def text(rng):
    return "".join(
        chr(
            rng.choice(
                [
                    rng.randint(0, 127),
                    rng.randint(0, 0x2FFF),
                    rng.randint(0xE000, 0xFFFF),
                    rng.randint(0x10000, 0x10FFFF),
                ]
            )
        )
        for _ in range(rng.randint(0, 5))
    )


def said(write, value):
    try:
        return write(value)
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("value", EDGES, ids=repr)
def test_an_edge_is_written_or_refused_as_the_reference_does(value):
    assert said(canonical, {"k": value}) == said(rfc8785.dumps, {"k": value})


def test_random_values_are_written_as_the_reference_does():
    rng = random.Random(1)
    for _ in range(20_000):
        value = drawn(rng)
        assert said(canonical, value) == said(rfc8785.dumps, value), value
