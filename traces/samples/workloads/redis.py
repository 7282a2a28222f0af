"""Talks to a redis server over a socket file, waits for it to come up, and shuts it down: python3 redis.py SOCKET."""

import random
import socket
import sys
import time

choose = random.Random(7)


def encoded(*words):
    parts = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def reply(stream):
    line = stream.readline()
    if line[:1] == b"$" and int(line[1:]) >= 0:
        return stream.read(int(line[1:]) + 2)
    if line[:1] == b"*":
        return [reply(stream) for _ in range(int(line[1:]))]
    return line


client = socket.socket(socket.AF_UNIX)
for attempt in range(500):
    try:
        client.connect(sys.argv[1])
        break
    except OSError:
        time.sleep(0.02)
stream = client.makefile("rb")
for step in range(9000):
    key = f"key:{choose.randrange(2000)}"
    kind = choose.random()
    if kind < 0.45:
        command = encoded("SET", key, "v" * choose.randrange(10, 400))
    elif kind < 0.75:
        command = encoded("GET", key)
    elif kind < 0.85:
        command = encoded("LPUSH", f"list:{choose.randrange(50)}", *range(choose.randrange(1, 20)))
    elif kind < 0.95:
        command = encoded("HSET", f"hash:{choose.randrange(80)}", key, "x" * choose.randrange(5, 90))
    elif kind < 0.985:
        command = encoded("DEL", key)
    else:
        command = encoded("SET", f"large:{choose.randrange(12)}", b"L" * choose.randrange(600_000, 1_500_000))
    client.sendall(command)
    reply(stream)
client.sendall(encoded("SHUTDOWN", "NOSAVE"))
