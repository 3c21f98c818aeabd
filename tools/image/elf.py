"""What a program needs to be loaded: machine, interpreter and libraries, read from its ELF headers.

Only 64-bit little-endian files, which is all that kerf is built for.
"""

import dataclasses
import struct

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB = 1, 5
MACHINES = {62: "amd64", 183: "arm64"}


class NotElf(Exception):
    """The file is no program or library that an image can be made of."""


@dataclasses.dataclass(frozen=True)
class Elf:
    architecture: str  # as OCI names it
    interpreter: str  # absolute path, "" for a library or a static program
    needed: tuple  # sonames, in order


def text_at(data, offset):
    end = data.find(b"\0", offset)
    if offset < 0 or end < 0:
        raise NotElf("a string lies outside the file")
    return data[offset:end].decode()


def parse(data):
    if data[:4] != b"\x7fELF":
        raise NotElf("not an ELF file")
    if data[4:6] != b"\x02\x01":
        raise NotElf("not a 64-bit little-endian ELF file")
    try:
        return parse_headers(data)
    except (struct.error, UnicodeDecodeError) as error:
        raise NotElf(f"a damaged ELF file ({error})") from error


def parse_headers(data):
    (machine,) = struct.unpack_from("<H", data, 18)
    if machine not in MACHINES:
        raise NotElf(f"built for the unknown machine {machine}")
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, start + i * size) for i in range(count)]
    interpreter = next((text_at(data, s[2]) for s in segments if s[0] == PT_INTERP), "")
    dynamic = next(((s[2], s[5]) for s in segments if s[0] == PT_DYNAMIC), None)
    return Elf(MACHINES[machine], interpreter, read_needed(data, segments, dynamic))


def read_needed(data, segments, dynamic):
    if dynamic is None:
        return ()
    offset, size = dynamic
    entries = [struct.unpack_from("<QQ", data, at) for at in range(offset, offset + size, 16)]
    names = [value for tag, value in entries if tag == DT_NEEDED]
    table = next((value for tag, value in entries if tag == DT_STRTAB), None)
    if not names:
        return ()
    if table is None:
        raise NotElf("its dynamic section names no string table")
    # The table is given by its address in memory.
    for kind, _, file_offset, address, _, file_size in segments:
        if kind == PT_LOAD and address <= table < address + file_size:
            strings = table - address + file_offset
            return tuple(text_at(data, strings + name) for name in names)
    raise NotElf("its string table is in no segment")
