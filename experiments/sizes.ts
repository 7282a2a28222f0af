/** Bytes as people write and read them; nothing of Node, so that pages use it too. */

const units: Record<string, number> = { '': 1, B: 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** Bytes from "2MiB", "512K", "33554432"; undefined where that is no size. */
export function readBytes(text: string): number | undefined {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([KMGTB]?)(?:i?B)?$/i.exec(text.trim()) ?? [];
  const bytes = Number(digits) * (units[(unit ?? '').toUpperCase()] ?? Number.NaN);
  return Number.isInteger(bytes) && bytes < 2 ** 53 ? bytes : undefined;
}

/** What `readBytes` wanted, for messages. */
export function notBytes(text: string): string {
  return `"${text}" is not a size; wanted whole bytes such as 2MiB, 512K or 33554432`;
}

/** "2 MiB", "512 KiB", "17 B". */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < names.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(value < 10 ? 2 : 1)} ${names[unit]}`;
}
