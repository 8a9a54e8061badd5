"""How long a classic NetCDF file must be, read from its header.

The NetCDF library reads the missing end of a torn classic file as zeros, which is plausible rain.
Every variable starts at ``begin``; a fixed one is as long as its shape, a record variable has one
slice in each record, so

    size ≥ max( begin + bytes,  begin + (records − 1) · record length + slice ).

Format: https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html
"""

from __future__ import annotations

import math
import struct
from typing import BinaryIO, NamedTuple

from longwang_ray.data.source import SourceError

__all__ = ["expected_size"]

_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}
_STREAMING = {0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}


class _Variable(NamedTuple):
    is_record: bool
    slice_bytes: int
    begin: int


class _Header:
    """The header's fields, one after another; version 5 counts in 64 bits."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.version = self.take(4)[3]

    def take(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) < size:
            raise SourceError("the file is torn within its header: fetch it again")
        return data

    def number(self, wide: bool = False) -> int:
        code = ">Q" if wide else ">I"
        return int(struct.unpack(code, self.take(struct.calcsize(code)))[0])

    def count(self) -> int:
        return self.number(wide=self.version == 5)

    def offset(self) -> int:
        return self.number(wide=self.version >= 2)

    def skip_name(self) -> None:
        self.take(_padded(self.count()))

    def n_items(self) -> int:
        """Length of a list, after its tag."""
        self.number()
        return self.count()

    def skip_attributes(self) -> None:
        for _ in range(self.n_items()):
            self.skip_name()
            kind = self.number()
            self.take(_padded(self.count() * _BYTES.get(kind, 1)))


def _padded(size: int) -> int:
    return -(-size // 4) * 4


def expected_size(path: str) -> int:
    """Bytes that a classic NetCDF file (CDF-1, -2 or -5) has at least, by its own header.

    Raises:
        SourceError: The header itself is cut short.
    """
    with open(path, "rb") as file:
        header = _Header(file)
        records = header.count()
        lengths = []
        for _ in range(header.n_items()):
            header.skip_name()
            lengths.append(header.count())
        header.skip_attributes()
        variables = [_read_variable(header, lengths) for _ in range(header.n_items())]
        end_of_header = file.tell()
    records = 0 if records in _STREAMING else records
    in_records = [v for v in variables if v.is_record]
    # a record variable that is alone is not padded
    stride = (
        in_records[0].slice_bytes
        if len(in_records) == 1
        else sum(_padded(v.slice_bytes) for v in in_records)
    )
    ends = [v.begin + v.slice_bytes for v in variables if not v.is_record]
    ends += [v.begin + (records - 1) * stride + v.slice_bytes for v in in_records if records]
    return max([end_of_header, *ends])


def _read_variable(header: _Header, lengths: list[int]) -> _Variable:
    header.skip_name()
    dims = [header.count() for _ in range(header.count())]
    header.skip_attributes()
    kind = header.number()
    header.count()  # vsize: overflows in large files, and follows from the shape
    begin = header.offset()
    shape = [lengths[dim] for dim in dims]
    is_record = bool(shape) and shape[0] == 0
    slice_bytes = math.prod(shape[is_record:]) * _BYTES[kind]
    return _Variable(is_record, slice_bytes, begin)
