"""Documents of a few megabytes, written as JSON, compressed, and read back: the blocks are buffers that grow."""

import json
import sys
import zlib

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
checksum = 0
for round_number in range(rounds):
    rows = 3000 + 1700 * (round_number % 7)
    document = {
        "round": round_number,
        "rows": [
            {"id": i, "name": f"row {i * 7919 % 10007}", "values": [i, i * 2, i * 3], "note": "x" * (i % 97)}
            for i in range(rows)
        ],
    }
    text = json.dumps(document, indent=1).encode()
    packed = zlib.compress(text, 1)
    checksum = zlib.crc32(packed, checksum)
    unpacked = zlib.decompress(packed)
    assert len(json.loads(unpacked)["rows"]) == rows
print(checksum)
