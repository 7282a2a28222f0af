/** Which pages of the heaps are resident. Addresses are in units of 16 bytes; every heap has its own stretch of them. */
import type { Meter } from '../meter.ts';

const page_shift = 8;
/** 2^31 units: 32 GiB, of which the main heap has the lower half. A page array costs memory only where it is written. */
const pages_max = 2 ** 23;

const absent = 0;
const zero = 1;
const resident = 2;

export class HeapPages {
  resident_pages = 0;
  private readonly page = new Uint8Array(pages_max);
  private readonly meter: Meter;
  private readonly read_maps_zero: boolean;

  /** `read_maps_zero`: of the kernel's profile. */
  constructor(meter: Meter, read_maps_zero: boolean) {
    this.meter = meter;
    this.read_maps_zero = read_maps_zero;
  }

  write(unit: number): void {
    const at = unit >>> page_shift;
    if (this.page[at] !== resident) this.makeResident(at);
  }

  /** Every page of units [from, to]. */
  writeAll(from: number, to: number): void {
    const last = to >>> page_shift;
    for (let at = from >>> page_shift; at <= last; at += 1) if (this.page[at] !== resident) this.makeResident(at);
  }

  /** A read of a page nobody wrote maps the shared zero page, where the kernel has it: a fault, and another at a write. */
  readAll(from: number, to: number): void {
    if (!this.read_maps_zero) {
      this.writeAll(from, to);
      return;
    }
    const last = to >>> page_shift;
    for (let at = from >>> page_shift; at <= last; at += 1)
      if (this.page[at] === absent) {
        this.page[at] = zero;
        this.meter.zero_faults += 1;
      }
  }

  /** Pages of units [from, to) are gone; returns how many were resident. */
  release(from: number, to: number): number {
    let gone = 0;
    const end = to >>> page_shift;
    for (let at = from >>> page_shift; at < end; at += 1) {
      if (this.page[at] === resident) gone += 1;
      this.page[at] = absent;
    }
    this.resident_pages -= gone;
    return gone;
  }

  private makeResident(at: number): void {
    this.page[at] = resident;
    this.resident_pages += 1;
    this.meter.faults += 1;
  }
}
