"""Byte buffers that grow by appending, as a download or a log does, and are cut into lines."""

total = 0
for size in (200_000, 700_000, 1_500_000, 3_000_000):
    for _ in range(6):
        buffer = bytearray()
        while len(buffer) < size:
            buffer += b"a line of a log that is read in pieces\n" * 97
        lines = bytes(buffer).split(b"\n")
        total += len(lines) + len(b";".join(lines))
print(total)
