/* Rolling digest of the decision log, 64 bits in two lanes. Mirrors sim/decide/digest.ts. */
#include "hak.h"

void hak_digest_init(hak_digest *digest) {
  digest->low = 0x243f6a88u;
  digest->high = 0x85a308d3u;
}

void hak_digest_mix(hak_digest *digest, uint32_t word) {
  digest->low = (((digest->low << 5) | (digest->low >> 27)) ^ word) * 0x9e3779b1u;
  digest->high = ((((digest->high << 13) | (digest->high >> 19)) + word) * 0x85ebca6bu) ^ (digest->low >> 16);
}

void hak_digest_hex(const hak_digest *digest, char text[17]) {
  snprintf(text, 17, "%08x%08x", digest->high, digest->low);
}

uint32_t hak_mix32(uint32_t value) {
  value = (value ^ (value >> 16)) * 0x85ebca6bu;
  value = (value ^ (value >> 13)) * 0xc2b2ae35u;
  return value ^ (value >> 16);
}
