"""Minidbs written record by record, also ones that no program would write."""

import struct

import numpy as np

from r2plus1d.weights import wire


def joined(records):
    """The minidb of (key, value) records."""
    return b''.join(struct.pack('<ii', len(k), len(v)) + k + v for k, v in records)


def split(raw):
    """The (key, value) records of a minidb."""
    records = []
    while raw:
        key, value = struct.unpack_from('<ii', raw)
        records.append((raw[8 : 8 + key], raw[8 + key : 8 + key + value]))
        raw = raw[8 + key + value :]
    return records


def piece(dims, values, segment=None, name=b'x'):
    """The record of float32 values; `segment` is (begin, end), None for a tensor in one piece."""
    raw = np.asarray(values, '<f4').tobytes()
    body = b''.join(wire.field(1, size) for size in dims) + wire.field(2, 1) + wire.field(3, raw)
    if segment:
        body += wire.field(11, wire.field(1, segment[0]) + wire.field(2, segment[1]))
    return name, tensor(body, name)


def tensor(body, name=b'x'):
    """The BlobProto of a TensorProto's bytes."""
    return wire.field(1, name) + wire.field(2, b'Tensor') + wire.field(3, body)
