/** CRC-32 (IEEE 802.3, reflected 0xEDB88320), eight bytes a step. Mirrors native/core/crc32.c. */
const steps = 8;
const [t0, t1, t2, t3, t4, t5, t6, t7] = makeTables();

/** The checksum of `bytes`; pass the checksum of what came before to go on. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  let at = 0;
  const { length } = bytes;
  for (const end = length - steps; at <= end; at += steps) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc =
      t7[crc & 0xff] ^
      t6[(crc >>> 8) & 0xff] ^
      t5[(crc >>> 16) & 0xff] ^
      t4[crc >>> 24] ^
      t3[bytes[at + 4]] ^
      t2[bytes[at + 5]] ^
      t1[bytes[at + 6]] ^
      t0[bytes[at + 7]];
  }
  for (; at < length; at += 1) crc = t0[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Table s: what a byte does to the checksum when s zero bytes follow it. */
function makeTables(): Int32Array[] {
  const tables = Array.from({ length: steps }, () => new Int32Array(256));
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    tables[0][byte] = crc;
  }
  for (let step = 1; step < steps; step += 1)
    for (let byte = 0; byte < 256; byte += 1) {
      const before = tables[step - 1][byte];
      tables[step][byte] = tables[0][before & 0xff] ^ (before >>> 8);
    }
  return tables;
}
