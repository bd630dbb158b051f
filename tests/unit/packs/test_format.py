"""The format of a pack: what is written is read back, what is damaged is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.packs.contents import Items, Metadata, Origin, forgotten
from dataflow.packs.format import (
    FOOTER,
    BadPack,
    NewerPack,
    check_head,
    marked,
    number_of,
    pack,
    tail_bytes,
    unpack,
)
from dataflow.serializers import CompressedSerializer, JSONSerializer, PickleSerializer

ORIGIN = Origin("run-1", "swift-heron-é", "load", 3, 1_700_000_000.25)
OTHER = Origin("", "", "clean", 0, 1.0)


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def items(n: int = 3, **changes: Any) -> Items:
    made = Items()
    for number in range(n):
        made.add(key(number), b"v" * number, number, 0.0)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def written(made: Items, metadata: Metadata | None = None) -> bytes:
    parts, _ = pack(metadata or Metadata.of(PickleSerializer(), (ORIGIN,)), "0.1.0", made)
    return b"".join(parts)


def test_index_and_metadata_are_read_from_the_end() -> None:
    data = written(items(3, indexes=[5, -1, 2**40]))
    tail = unpack(data[-tail_bytes(data[-64:]) :])
    assert tail.metadata == Metadata("pickle", None, (ORIGIN,))
    columns = tail.columns
    assert [columns.key(slot) for slot in range(3)] == [key(0), key(1), key(2)]
    assert columns.indexes.tolist() == [5, -1, 2**40]
    assert columns.lengths.tolist() == [0, 1, 2]
    assert columns.expires is None and columns.origins is None
    assert [data[a:b] for a, b in zip(columns.offsets, columns.offsets[1:], strict=False)] == [
        b"", b"v", b"vv"]
    check_head(data[:16])


def test_index_read_back_is_the_one_that_was_returned() -> None:
    parts, columns = pack(Metadata.of(JSONSerializer(), (ORIGIN,)), "0.1.0", items(9))
    again = unpack(b"".join(parts)).columns
    for name in ("keys", "lengths", "checksums", "indexes", "offsets"):
        assert getattr(again, name).tolist() == getattr(columns, name).tolist()


def test_expiry_and_origins_have_columns_where_they_differ() -> None:
    made = items(3, expires=[0.0, 5.5, 0.0], origins=[0, 1, 0])
    tail = unpack(written(made, Metadata.of(PickleSerializer(), (ORIGIN, OTHER))))
    assert tail.columns.expires is not None and tail.columns.expires.tolist() == [0, 5.5, 0]
    assert [number_of(tail.columns, slot) for slot in range(3)] == [0, 1, 0]
    assert tail.metadata.origins == (ORIGIN, OTHER)


def test_serializer_without_a_name_is_kept_with_the_pack() -> None:
    serializer = CompressedSerializer("json", compressionlib="zlib")
    tail = unpack(written(items(), Metadata.of(serializer, (ORIGIN,))))
    assert tail.metadata.loader()(serializer.dumps([1])) == [1]


def test_forgotten_keys_have_an_expiry_that_is_past() -> None:
    tail = unpack(written(forgotten([key(1)])))
    assert tail.columns.expires is not None and tail.columns.expires.tolist() == [-1.0]


def test_newer_version_is_told_apart_from_damage() -> None:
    data = bytearray(written(items()))
    at = len(data) - FOOTER.size + 36
    data[at : at + 4] = marked(2).to_bytes(4, "little")
    with pytest.raises(NewerPack, match="version 2"):
        tail_bytes(bytes(data))


@pytest.mark.parametrize("end, why", [
    (b"", "empty"), (b"x" * 63, "63 bytes"), (b"x" * 64, "does not end like a pack"),
])
def test_end_that_is_none_of_a_pack_is_refused(end: bytes, why: str) -> None:
    with pytest.raises(BadPack, match=why):
        tail_bytes(end)


def test_each_flipped_bit_of_index_or_footer_is_found() -> None:
    data = written(items(2))
    size = tail_bytes(data)
    for at in range(len(data) - size, len(data)):
        for bit in (0, 7):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(BadPack):
                unpack(bytes(damaged))


def test_each_cut_is_found() -> None:
    data = written(items(2))
    for length in range(len(data)):
        with pytest.raises(BadPack):
            unpack(data[:length])


def test_beginning_of_another_file_is_refused() -> None:
    for head in (b"", b"dfpack\n" + bytes(9), b"PK" + bytes(14)):
        with pytest.raises(BadPack):
            check_head(head)
