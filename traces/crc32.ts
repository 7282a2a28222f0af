/** CRC-32 (IEEE 802.3, reflected 0xEDB88320), four bytes a step. Mirrors native/core/crc32.c. */
const tables = makeTables();

/** The checksum of `bytes`; pass the checksum of what came before to go on. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  let at = 0;
  const { length } = bytes;
  for (; at + 4 <= length; at += 4) {
    crc ^= bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
    crc =
      tables[768 + (crc & 0xff)] ^
      tables[512 + ((crc >>> 8) & 0xff)] ^
      tables[256 + ((crc >>> 16) & 0xff)] ^
      tables[crc >>> 24];
  }
  for (; at < length; at += 1) crc = tables[(crc ^ bytes[at]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function makeTables(): Int32Array {
  const table = new Int32Array(4 * 256);
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    table[byte] = crc;
  }
  for (let byte = 0; byte < 256; byte += 1) {
    for (let step = 1; step < 4; step += 1) {
      const before = table[(step - 1) * 256 + byte];
      table[step * 256 + byte] = table[before & 0xff] ^ (before >>> 8);
    }
  }
  return table;
}
