/** Which pages of the heaps are resident. Addresses are in units of 16 bytes; every heap has its own stretch of them. */
import type { Meter } from '../meter.ts';

const page_shift = 8;
/** 16 GiB of the main heap; the other heaps' pages follow from here on. */
const main_pages_max = 2 ** 22;
const pages_at_first = 1024;

const absent = 0;
const zero = 1;
const resident = 2;

export class HeapPages {
  resident_pages = 0;
  /** Columns of the main heap and of the others, as long as `reach` made them. */
  private main = new Uint8Array(pages_at_first);
  private others = new Uint8Array(0);
  private readonly meter: Meter;
  private readonly read_maps_zero: boolean;

  /** `read_maps_zero`: of the kernel's profile. */
  constructor(meter: Meter, read_maps_zero: boolean) {
    this.meter = meter;
    this.read_maps_zero = read_maps_zero;
  }

  /** Before a heap gains what lies below `end`. */
  reach(end: number): void {
    const pages = end >>> page_shift;
    if (pages <= main_pages_max) this.main = longer(this.main, pages);
    else this.others = longer(this.others, pages - main_pages_max);
  }

  write(unit: number): void {
    const at = unit >>> page_shift;
    if (at < main_pages_max) {
      if (this.main[at] !== resident) this.makeResident(this.main, at);
    } else if (this.others[at - main_pages_max] !== resident) this.makeResident(this.others, at - main_pages_max);
  }

  /** Every page of units [from, to]. */
  writeAll(from: number, to: number): void {
    const base = baseOf(from);
    const page = base === 0 ? this.main : this.others;
    const last = (to >>> page_shift) - base;
    for (let at = (from >>> page_shift) - base; at <= last; at += 1)
      if (page[at] !== resident) this.makeResident(page, at);
  }

  /** A read of a page nobody wrote maps the shared zero page, where the kernel has it: a fault, and another at a write. */
  readAll(from: number, to: number): void {
    if (!this.read_maps_zero) {
      this.writeAll(from, to);
      return;
    }
    const base = baseOf(from);
    const page = base === 0 ? this.main : this.others;
    const last = (to >>> page_shift) - base;
    for (let at = (from >>> page_shift) - base; at <= last; at += 1)
      if (page[at] === absent) {
        page[at] = zero;
        this.meter.zero_faults += 1;
      }
  }

  /** Pages of units [from, to) are gone; returns how many were resident. */
  release(from: number, to: number): number {
    const base = baseOf(from);
    const page = base === 0 ? this.main : this.others;
    const end = (to >>> page_shift) - base;
    let gone = 0;
    for (let at = (from >>> page_shift) - base; at < end; at += 1) {
      if (page[at] === resident) gone += 1;
      page[at] = absent;
    }
    this.resident_pages -= gone;
    return gone;
  }

  private makeResident(page: Uint8Array, at: number): void {
    page[at] = resident;
    this.resident_pages += 1;
    this.meter.faults += 1;
  }
}

/** Of the column that holds the page of a unit: its first page. */
const baseOf = (unit: number): number => (unit >>> page_shift < main_pages_max ? 0 : main_pages_max);

function longer(column: Uint8Array<ArrayBuffer>, pages: number): Uint8Array<ArrayBuffer> {
  if (pages <= column.length) return column;
  const wide = new Uint8Array(Math.max(pages, 2 * column.length));
  wide.set(column);
  return wide;
}
