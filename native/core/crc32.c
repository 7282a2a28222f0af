/* CRC-32 (IEEE 802.3, reflected 0xEDB88320). Mirrors traces/crc32.ts. */
#include "hak.h"

uint32_t hak_crc32(uint32_t before, const uint8_t *bytes, size_t length) {
  static uint32_t table[256];
  if (table[1] == 0) {
    for (uint32_t byte = 0; byte < 256; byte += 1) {
      uint32_t crc = byte;
      for (int bit = 0; bit < 8; bit += 1) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320u : crc >> 1;
      table[byte] = crc;
    }
  }
  uint32_t crc = ~before;
  for (size_t at = 0; at < length; at += 1) crc = table[(crc ^ bytes[at]) & 0xff] ^ (crc >> 8);
  return ~crc;
}
