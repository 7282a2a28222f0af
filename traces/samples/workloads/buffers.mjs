// Buffers of up to two megabytes that are filled, compressed, decompressed and joined; a window of them stays alive.
import { deflateSync, inflateSync } from 'node:zlib';

const rounds = Number(process.argv[2] ?? 60);
const kept = [];
let seed = 12345;
for (let round = 0; round < rounds; round += 1) {
  seed = (seed * 1103515245 + 12345) % 2147483648;
  const length = 200_000 + (seed % 1_800_000);
  const buffer = Buffer.alloc(length, `round ${round} of the buffers, `);
  const packed = deflateSync(buffer, { level: 1 });
  const unpacked = inflateSync(packed);
  if (!unpacked.equals(buffer)) throw new Error('not what went in');
  kept.push(Buffer.concat([unpacked, packed]));
  if (kept.length > 8) kept.shift();
}
console.log(kept.reduce((sum, buffer) => sum + buffer.length, 0));
