"""Xet's wire formats: xorbs (packs of compressed chunks) and shards (which chunks make up which file)."""

from __future__ import annotations

import struct

from tests.minihub.errors import HubError


def xet_hex(raw: bytes) -> str:
    """Xet prints a 32-byte hash as four little-endian 64-bit numbers."""
    return "".join(raw[i : i + 8][::-1].hex() for i in range(0, 32, 8))


def xorb_chunks(data: bytes) -> list[bytes]:
    """Chunks of a serialized xorb.  Chunk = 8-byte header (version, u24 packed size, scheme, u24 size) + data."""
    import pyarrow as pa  # only for LZ4 frames

    out, pos = [], 0
    while pos + 8 <= len(data) and data[pos : pos + 7] != b"XETBLOB":  # "XETBLOB": optional footer
        packed = int.from_bytes(data[pos + 1 : pos + 4], "little")
        scheme = data[pos + 4]
        size = int.from_bytes(data[pos + 5 : pos + 8], "little")
        if data[pos] != 0 or scheme > 2 or packed == 0:
            break
        raw = data[pos + 8 : pos + 8 + packed]
        if scheme:
            raw = pa.decompress(raw, decompressed_size=size, codec="lz4", asbytes=True)
        if scheme == 2:  # four byte planes, one after the other
            at, plain = 0, bytearray(size)
            for k in range(4):
                n = (size - k + 3) // 4
                plain[k::4] = raw[at : at + n]
                at += n
            raw = bytes(plain)
        if len(raw) != size:
            raise HubError(400, "corrupt xorb chunk")
        out.append(raw)
        pos += 8 + packed
    return out


def shard_files(data: bytes) -> list[tuple[str, str | None, list[tuple[str, int, int]]]]:
    """(file hash, sha256 or None, [(xorb hash, first chunk, end chunk)]) for every file in a shard."""
    if not data.startswith(b"HFRepoMetaData"):
        raise HubError(400, "not a shard")
    pos, out, end = 48, [], b"\xff" * 32
    while pos + 48 <= len(data) and data[pos : pos + 32] != end:
        name = xet_hex(data[pos : pos + 32])
        flags, count = struct.unpack_from("<II", data, pos + 32)
        pos += 48
        terms = []
        for _ in range(count):
            _f, _n, first, last = struct.unpack_from("<IIII", data, pos + 32)
            terms.append((xet_hex(data[pos : pos + 32]), first, last))
            pos += 48
        if flags & 0x8000_0000:  # verification entries
            pos += 48 * count
        sha = None
        if flags & 0x4000_0000:  # metadata: the file's sha256
            sha = xet_hex(data[pos : pos + 32])
            pos += 48
        out.append((name, sha, terms))
    return out
