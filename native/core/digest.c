/* Digest of the decision log, 64 bits in two lanes: mapped decisions roll, heap events add up. Mirrors sim/decide/digest.ts. */
#include "hak.h"

void hak_digest_init(hak_digest *digest) {
  digest->low = 0x243f6a88u;
  digest->high = 0x85a308d3u;
  digest->sum_low = 0;
  digest->sum_high = 0;
}

void hak_digest_mix(hak_digest *digest, uint32_t word) {
  digest->low = (((digest->low << 5) | (digest->low >> 27)) ^ word) * 0x9e3779b1u;
  digest->high = ((((digest->high << 13) | (digest->high >> 19)) + word) * 0x85ebca6bu) ^ (digest->low >> 16);
}

uint32_t hak_digest_pack(int64_t first, uint32_t second) { return (uint32_t)first ^ second * 0xcc9e2d51u; }

void hak_digest_add(hak_digest *digest, int64_t event, uint32_t word, int64_t size_bytes) {
  word |= (uint32_t)(size_bytes >> 32) << 16;
  uint32_t low = (uint32_t)event * 0x9e3779b1u ^ (uint32_t)size_bytes;
  low = (low ^ (low >> 15) ^ word) * 0x85ebca6bu;
  low ^= low >> 13;
  digest->sum_low += low;
  digest->sum_high += ((low ^ (uint32_t)event) * 0xc2b2ae35u) ^ (low >> 16);
}

void hak_digest_add_sums(hak_digest *digest, const hak_digest *sums) {
  digest->sum_low += sums->sum_low;
  digest->sum_high += sums->sum_high;
}

void hak_digest_hex(const hak_digest *digest, char text[17]) {
  snprintf(text, 17, "%08x%08x", digest->high ^ digest->sum_high, digest->low ^ digest->sum_low);
}

uint32_t hak_mix32(uint32_t value) {
  value = (value ^ (value >> 16)) * 0x85ebca6bu;
  value = (value ^ (value >> 13)) * 0xc2b2ae35u;
  return value ^ (value >> 16);
}
