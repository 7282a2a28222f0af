/**
 * Chunks of a ptmalloc heap as rows of columns. A row stands for one chunk, or for the head of a list; row 0 is nobody.
 * Sizes and addresses are in units of 16 bytes, the alignment of every chunk.
 */

/**
 * In an object, as `state` is, for the sake of hot loops: a member that a module takes out at its top is a constant to the
 * compiler, while an imported name is loaded again wherever it stands.
 */
export const layout = { unit_bytes: 16, page_units: 256, nobody: 0, chunk_min_units: 2 };
const { nobody } = layout;

/** What a chunk is. `fast` and `cached` ones count as in use for their neighbours: only `free` ones merge. */
export const state = { unused: 0, used: 1, free: 2, fast: 3, cached: 4, top: 5, fence: 6, mapped: 7 } as const;

/** An event makes fewer chunks than this: an aligned realloc makes four. */
const reserve_rows = 16;

export class Chunks {
  state = new Uint8Array(0);
  arena = new Uint16Array(0);
  /** Address and size; of a mapped chunk, its offset in its mapping, and the mapping's pages. */
  at = new Int32Array(0);
  size = new Int32Array(0);
  /** Neighbours by address. */
  before = new Int32Array(0);
  after = new Int32Array(0);
  /** The list it is in; of a mapped chunk, `bk` is how many pages from its header on are resident. */
  fd = new Int32Array(0);
  bk = new Int32Array(0);
  /** Of a large bin: the list of the first ones of each size. */
  fd_nextsize = new Int32Array(0);
  bk_nextsize = new Int32Array(0);
  private made = 1;
  private spare = nobody;
  private spares = 0;

  constructor() {
    this.grow(1024);
  }

  /** Room for an event: until the next call of this, columns stay the arrays they are. */
  reserve(): void {
    if (this.spares < reserve_rows && this.made + reserve_rows > this.at.length) this.grow(2 * this.at.length);
  }

  /** A row; its columns hold what the last one left, but for state and arena. */
  make(kind: number, arena: number): number {
    let row = this.spare;
    if (row !== nobody) {
      this.spare = this.fd[row];
      this.spares -= 1;
    } else {
      row = this.made;
      this.made += 1;
    }
    this.state[row] = kind;
    this.arena[row] = arena;
    return row;
  }

  /** Adjacent rows, the first of which is returned: heads of an arena's bins. */
  makeHeads(count: number, arena: number): number {
    while (this.made + count + reserve_rows > this.at.length) this.grow(2 * this.at.length);
    const first = this.made;
    this.made += count;
    for (let row = first; row < this.made; row += 1) {
      this.arena[row] = arena;
      this.fd[row] = row;
      this.bk[row] = row;
      // In the library a head's next size is the following bin's first chunk: never nobody.
      this.fd_nextsize[row] = row;
    }
    return first;
  }

  drop(row: number): void {
    this.state[row] = state.unused;
    this.fd[row] = this.spare;
    this.spare = row;
    this.spares += 1;
  }

  private grow(rows: number): void {
    const bytes = new Uint8Array(rows);
    bytes.set(this.state);
    this.state = bytes;
    const words = new Uint16Array(rows);
    words.set(this.arena);
    this.arena = words;
    const wider = (column: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const wide = new Int32Array(rows);
      wide.set(column);
      return wide;
    };
    this.at = wider(this.at);
    this.size = wider(this.size);
    this.before = wider(this.before);
    this.after = wider(this.after);
    this.fd = wider(this.fd);
    this.bk = wider(this.bk);
    this.fd_nextsize = wider(this.fd_nextsize);
    this.bk_nextsize = wider(this.bk_nextsize);
  }
}
