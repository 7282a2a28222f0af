/*
 * The page model, page by page: what the kernel does when asked to map, unmap, advise, or when pages are touched.
 * Mirrors sim/kernel/pages.ts, which keeps counts a window to be fast; this one counts, to be plain.
 */
#include <string.h>

#include "hak.h"

/*
 * A page's state in its low two bits. Of the pages of a huge page, mapped whole or page by page: whether they hold anything
 * but zeroes. Of a page mapped on its own: whether it still is part of a huge page.
 */
enum { page_absent, page_zero, page_resident, page_lazy, page_state = 3, page_of_folio = 4, page_written = 8 };
enum { window_empty, window_table, window_huge, window_huge_lazy, window_huge_zero };

static hak_page_model *model_of(hak_kernel *kernel) { return (hak_page_model *)kernel; }

static int64_t window_of(int64_t page) { return page / HAK_WINDOW_PAGES; }

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* The end of the piece of [from, end) that lies in one window. */
static int64_t piece_end(int64_t from, int64_t end) { return least(end, (window_of(from) + 1) * HAK_WINDOW_PAGES); }

static void grow(hak_page_model *model, int64_t pages) {
  int64_t windows = model->windows;
  while (windows * HAK_WINDOW_PAGES < pages) windows *= 2;
  if (windows == model->windows) return;
  model->page = hak_memory_grow(model->memory, model->page, (size_t)(model->windows * HAK_WINDOW_PAGES),
                                (size_t)(windows * HAK_WINDOW_PAGES));
  model->window = hak_memory_grow(model->memory, model->window, (size_t)model->windows, (size_t)windows);
  model->windows = windows;
}

static bool is_present(uint8_t page) { return (page & page_state) == page_resident || (page & page_state) == page_lazy; }

/* A huge page is mapped page by page from now on; it stays one folio. */
static void split(hak_page_model *model, int64_t window) {
  const uint8_t was = model->window[window];
  if (was < window_huge) return;
  model->window[window] = window_table;
  if (was != window_huge_zero) model->huge_pages -= HAK_WINDOW_PAGES;
  for (int64_t page = window * HAK_WINDOW_PAGES; page < (window + 1) * HAK_WINDOW_PAGES; page += 1) {
    const uint8_t held = model->page[page] & page_written;
    if (was == window_huge_zero)
      model->page[page] = page_zero;
    else
      model->page[page] = held | page_of_folio | (was == window_huge ? page_resident : page_lazy);
  }
}

/* The folio falls into pages; those that hold only zeroes are mapped to the zero page. */
static void split_folio(hak_page_model *model, int64_t window) {
  for (int64_t page = window * HAK_WINDOW_PAGES; page < (window + 1) * HAK_WINDOW_PAGES; page += 1) {
    const uint8_t was = model->page[page];
    if ((was & page_of_folio) == 0) continue;
    const bool to_zero = (was & page_written) == 0 && model->profile.split_maps_zero;
    model->page[page] = to_zero ? page_zero : was & page_state;
    if (to_zero) model->resident_pages -= 1;
  }
}

/* A boundary cuts the window it lies in: a huge page there becomes small ones. */
static void split_at(hak_page_model *model, int64_t page) {
  if (page % HAK_WINDOW_PAGES != 0 && window_of(page) < model->windows) split(model, window_of(page));
}

/* Pages [from, to) of one window become absent. */
static int64_t release(hak_page_model *model, int64_t from, int64_t to) {
  const int64_t window = window_of(from);
  const bool whole = to - from == HAK_WINDOW_PAGES;
  const uint8_t was = model->window[window];
  if (was == window_empty) return 0;
  if (was >= window_huge && whole) {
    if (was != window_huge_zero) {
      model->resident_pages -= HAK_WINDOW_PAGES;
      model->huge_pages -= HAK_WINDOW_PAGES;
    }
    model->window[window] = window_empty;
    memset(&model->page[from], page_absent, HAK_WINDOW_PAGES);
    return model->prices->release_huge_ns;
  }
  split(model, window);
  int64_t gone = 0;
  for (int64_t page = from; page < to; page += 1)
    if (is_present(model->page[page])) gone += 1;
  memset(&model->page[from], page_absent, (size_t)(to - from));
  model->resident_pages -= gone;
  return gone * model->prices->release_page_ns;
}

static int64_t counted_map(hak_kernel *kernel, int64_t start, int64_t pages) {
  hak_areas_map(&model_of(kernel)->areas, start, start + pages);
  kernel->syscalls.mmap += 1;
  kernel->mapped_pages += pages;
  if (kernel->mapped_pages > kernel->mapped_pages_peak) kernel->mapped_pages_peak = kernel->mapped_pages;
  return model_of(kernel)->prices->mmap_ns;
}

static int64_t counted_unmap(hak_kernel *kernel, int64_t start, int64_t pages) {
  hak_page_model *model = model_of(kernel);
  const int64_t end = start + pages;
  split_at(model, start);
  split_at(model, end);
  hak_areas_unmap(&model->areas, start, end);
  kernel->syscalls.munmap += 1;
  kernel->mapped_pages -= pages;
  int64_t price = model->prices->munmap_ns;
  for (int64_t from = start; from < end && window_of(from) < model->windows; from = piece_end(from, end)) {
    const int64_t window = window_of(from);
    price += release(model, from, piece_end(from, end));
    if (!hak_areas_overlap(&model->areas, window * HAK_WINDOW_PAGES, (window + 1) * HAK_WINDOW_PAGES))
      model->window[window] = window_empty;
  }
  return price;
}

static int64_t counted_advise_huge(hak_kernel *kernel, int64_t start, int64_t pages) {
  hak_areas_advise(&model_of(kernel)->areas, start, start + pages, HAK_AREA_HUGE);
  kernel->syscalls.madvise_hugepage += 1;
  return model_of(kernel)->prices->advise_huge_ns;
}

static int64_t counted_advise_no_huge(hak_kernel *kernel, int64_t start, int64_t pages) {
  hak_areas_advise(&model_of(kernel)->areas, start, start + pages, HAK_AREA_NO_HUGE);
  kernel->syscalls.madvise_nohugepage += 1;
  return model_of(kernel)->prices->advise_huge_ns;
}

static int64_t discard(hak_page_model *model, int64_t start, int64_t pages) {
  const int64_t end = start + pages;
  int64_t price = 0;
  for (int64_t from = start; from < end && window_of(from) < model->windows;) {
    const int64_t area = hak_areas_find(&model->areas, from);
    hak_assert(area >= 0);
    /* One walk stays in one area and one window; it gives the page table back only where it covers the window. */
    const int64_t to = least(piece_end(from, end), model->areas.area[area].end);
    price += release(model, from, to);
    if (to - from == HAK_WINDOW_PAGES && model->profile.pt_reclaim) model->window[window_of(from)] = window_empty;
    from = to;
  }
  return price;
}

static int64_t counted_dontneed(hak_kernel *kernel, int64_t start, int64_t pages) {
  kernel->syscalls.madvise_dontneed += 1;
  return model_of(kernel)->prices->madvise_ns + discard(model_of(kernel), start, pages);
}

static int64_t counted_dontneed_vector(hak_kernel *kernel, const hak_range *ranges, int64_t count) {
  kernel->syscalls.process_madvise += 1;
  int64_t price = model_of(kernel)->prices->process_madvise_ns;
  for (int64_t at = 0; at < count; at += 1) price += discard(model_of(kernel), ranges[at].start, ranges[at].pages);
  return price;
}

static int64_t folio_pages(const hak_page_model *model, int64_t from, int64_t to) {
  int64_t pages = 0;
  for (int64_t page = from; page < to; page += 1) pages += (model->page[page] & page_of_folio) != 0;
  return pages;
}

static int64_t counted_free(hak_kernel *kernel, int64_t start, int64_t pages) {
  hak_page_model *model = model_of(kernel);
  const int64_t end = start + pages;
  kernel->syscalls.madvise_free += 1;
  int64_t price = model->prices->madvise_ns;
  for (int64_t from = start; from < end && window_of(from) < model->windows; from = piece_end(from, end)) {
    const int64_t to = piece_end(from, end);
    uint8_t *window = &model->window[window_of(from)];
    const bool whole = to - from == HAK_WINDOW_PAGES;
    if (whole && *window == window_huge) {
      *window = window_huge_lazy;
      price += model->prices->release_huge_ns;
    }
    if (!whole && (*window == window_huge || *window == window_huge_lazy)) split(model, window_of(from));
    if (*window != window_table) continue;
    for (int64_t page = from; page < to; page += 1) {
      /* A huge page that is not freed whole is split at its first page that is. */
      if ((model->page[page] & page_of_folio) && folio_pages(model, from, to) < HAK_WINDOW_PAGES)
        split_folio(model, window_of(from));
      if ((model->page[page] & page_state) != page_resident) continue;
      model->page[page] = (model->page[page] & (uint8_t)~page_state) | page_lazy;
      price += model->prices->lazy_free_page_ns;
    }
  }
  return price;
}

static bool suitable(const hak_page_model *model, int64_t window, int64_t area) {
  const hak_area *in = &model->areas.area[area];
  if (in->start > window * HAK_WINDOW_PAGES || in->end < (window + 1) * HAK_WINDOW_PAGES) return false;
  if (in->flag == HAK_AREA_NO_HUGE || model->profile.thp_kernel == HAK_THP_KERNEL_NEVER) return false;
  return in->flag == HAK_AREA_HUGE || model->profile.thp_kernel == HAK_THP_KERNEL_ALWAYS;
}

static int64_t make_huge(hak_page_model *model, int64_t window) {
  model->window[window] = window_huge;
  model->kernel.faults += 1;
  model->kernel.huge_faults += 1;
  model->resident_pages += HAK_WINDOW_PAGES;
  model->huge_pages += HAK_WINDOW_PAGES;
  return model->prices->huge_fault_ns;
}

static int64_t write_page(hak_page_model *model, int64_t page, int64_t area, bool zeroes) {
  const int64_t window = window_of(page);
  const uint8_t holds = zeroes ? 0 : page_written;
  int64_t price = 0;
  switch (model->window[window]) {
    case window_huge_lazy:
      model->window[window] = window_huge;
      break;
    case window_huge_zero:
      if (model->profile.huge_zero_write == HAK_HUGE_ZERO_WRITE_HUGE)
        price = make_huge(model, window);
      else
        split(model, window);
      break;
    case window_empty:
      if (suitable(model, window, area))
        price = make_huge(model, window);
      else
        model->window[window] = window_table;
      break;
    default:
      break;
  }
  if (model->window[window] == window_huge) {
    model->page[page] = holds;
    return price;
  }
  const uint8_t was = model->page[page];
  model->page[page] = page_resident | ((was & page_of_folio) ? page_of_folio | holds : 0);
  if (is_present(was)) return 0;
  model->kernel.faults += 1;
  model->resident_pages += 1;
  return model->prices->fault_ns;
}

static int64_t counted_touch(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp, bool was_zero) {
  (void)was_zero;
  hak_page_model *model = model_of(kernel);
  if (pages == 0) return 0;
  grow(model, start + pages);
  const int64_t area = hak_areas_find(&model->areas, start);
  hak_assert(area >= 0 && start + pages <= model->areas.area[area].end);
  const int64_t faults_before = kernel->faults;
  int64_t price = 0;
  for (int64_t page = start; page < start + pages; page += 1) price += write_page(model, page, area, stamp == 0);
  if (kernel->faults > faults_before) hak_areas_prepare_anon(&model->areas, area);
  return price;
}

/* A read of a page never touched maps the zero page, a small or a huge one. */
static int64_t read_page(hak_page_model *model, int64_t page, int64_t area) {
  const int64_t window = window_of(page);
  if (model->window[window] == window_empty) {
    if (suitable(model, window, area)) {
      model->window[window] = window_huge_zero;
      model->kernel.faults += 1;
      model->kernel.huge_faults += 1;
      hak_areas_prepare_anon(&model->areas, area);
      return model->prices->zero_fault_ns;
    }
    model->window[window] = window_table;
  }
  if (model->window[window] != window_table || model->page[page] != page_absent) return 0;
  model->page[page] = page_zero;
  model->kernel.faults += 1;
  return model->prices->zero_fault_ns;
}

/* Where the zero page is forbidden, such a read is a write of zeroes. */
static int64_t read_page_of_its_own(hak_page_model *model, int64_t page, int64_t area) {
  const int64_t window = window_of(page);
  const bool mapped = model->window[window] == window_table ? model->page[page] != page_absent
                                                            : model->window[window] != window_empty;
  if (mapped) return 0;
  hak_areas_prepare_anon(&model->areas, area);
  return write_page(model, page, area, true);
}

static int64_t counted_read(hak_kernel *kernel, int64_t start, int64_t pages) {
  hak_page_model *model = model_of(kernel);
  if (pages == 0) return 0;
  grow(model, start + pages);
  const int64_t area = hak_areas_find(&model->areas, start);
  hak_assert(area >= 0 && start + pages <= model->areas.area[area].end);
  int64_t price = 0;
  for (int64_t page = start; page < start + pages; page += 1)
    price += model->profile.read_maps_zero ? read_page(model, page, area) : read_page_of_its_own(model, page, area);
  return price;
}

static void counted_residency(hak_kernel *kernel, hak_residency *residency) {
  const hak_page_model *model = model_of(kernel);
  residency->resident_bytes = model->resident_pages * HAK_PAGE_BYTES;
  residency->huge_bytes = model->huge_pages * HAK_PAGE_BYTES;
  residency->areas = model->areas.count;
  residency->heap_resident_bytes = 0;
}

static void counted_verify(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp) {
  (void)kernel;
  (void)start;
  (void)pages;
  (void)stamp;
}

static void counted_heap_allocate(hak_kernel *kernel, int64_t object, int kind, int64_t size_bytes, int64_t align,
                                  int64_t touched) {
  (void)kernel;
  (void)object;
  (void)kind;
  (void)size_bytes;
  (void)align;
  (void)touched;
}

static void counted_heap_reallocate(hak_kernel *kernel, int64_t object, int64_t size_bytes, int64_t touched) {
  (void)kernel;
  (void)object;
  (void)size_bytes;
  (void)touched;
}

static void counted_heap_free(hak_kernel *kernel, int64_t object) {
  (void)kernel;
  (void)object;
}

void hak_page_model_init(hak_page_model *model, hak_memory *memory, hak_profile profile, const hak_prices *prices) {
  memset(model, 0, sizeof *model);
  model->kernel = (hak_kernel){
      .map = counted_map,
      .unmap = counted_unmap,
      .advise_huge = counted_advise_huge,
      .advise_no_huge = counted_advise_no_huge,
      .dontneed = counted_dontneed,
      .dontneed_vector = counted_dontneed_vector,
      .free = counted_free,
      .touch = counted_touch,
      .read = counted_read,
      .verify = counted_verify,
      .residency = counted_residency,
      .heap_allocate = counted_heap_allocate,
      .heap_reallocate = counted_heap_reallocate,
      .heap_free = counted_heap_free,
  };
  model->memory = memory;
  model->profile = profile;
  model->prices = prices;
  model->windows = 64;
  model->page = hak_memory_grow(memory, NULL, 0, (size_t)(model->windows * HAK_WINDOW_PAGES));
  model->window = hak_memory_grow(memory, NULL, 0, (size_t)model->windows);
  hak_areas_init(&model->areas, memory);
}
