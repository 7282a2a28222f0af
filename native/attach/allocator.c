#define _GNU_SOURCE
#include "allocator.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const function_names[FUNCTIONS] = {
    "free",
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "_Znwm",
    "_Znam",
    "_ZnwmRKSt9nothrow_t",
    "_ZnamRKSt9nothrow_t",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
};

enum { MODULES_MAX = 1024 };

struct module {
  char file[64];
  char name[256];
  dev_t device;
  ino_t inode;
};

/** An ELF file in memory; whatever it says of itself may be wrong. */
struct image {
  const char *bytes;
  uint64_t length;
};

static const void *part(const struct image *image, uint64_t offset, uint64_t bytes) {
  return offset <= image->length && bytes <= image->length - offset ? image->bytes + offset : NULL;
}

/** Where in the file the address is that it wants to have in memory; 0 where nowhere. */
static uint64_t file_offset(const struct image *image, const Elf64_Ehdr *header, uint64_t address) {
  const Elf64_Phdr *segments = part(image, header->e_phoff, (uint64_t)header->e_phnum * sizeof *segments);
  if (segments == NULL) return 0;
  for (unsigned at = 0; at < header->e_phnum; at += 1)
    if (segments[at].p_type == PT_LOAD && address >= segments[at].p_vaddr &&
        address - segments[at].p_vaddr < segments[at].p_filesz)
      return address - segments[at].p_vaddr + segments[at].p_offset;
  return 0;
}

static void take_symbols(const struct image *image, const Elf64_Ehdr *header, const Elf64_Shdr *table,
                         const Elf64_Shdr *names, uint64_t offsets[FUNCTIONS]) {
  const Elf64_Sym *symbols = part(image, table->sh_offset, table->sh_size);
  const char *text = part(image, names->sh_offset, names->sh_size);
  if (symbols == NULL || text == NULL || names->sh_size == 0 || text[names->sh_size - 1] != '\0') return;
  for (uint64_t at = 0; at < table->sh_size / sizeof *symbols; at += 1) {
    const Elf64_Sym *symbol = &symbols[at];
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || ELF64_ST_BIND(symbol->st_info) == STB_LOCAL ||
        symbol->st_shndx == SHN_UNDEF || symbol->st_name >= names->sh_size)
      continue;
    for (int function = 0; function < FUNCTIONS; function += 1)
      if (strcmp(text + symbol->st_name, function_names[function]) == 0)
        offsets[function] = file_offset(image, header, symbol->st_value);
  }
}

static void read_image(const struct image *image, uint64_t offsets[FUNCTIONS]) {
  const Elf64_Ehdr *header = part(image, 0, sizeof *header);
  if (header == NULL || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
      header->e_shentsize != sizeof(Elf64_Shdr) || header->e_phentsize != sizeof(Elf64_Phdr))
    return;
  const Elf64_Shdr *sections = part(image, header->e_shoff, (uint64_t)header->e_shnum * sizeof *sections);
  if (sections == NULL) return;
  for (unsigned at = 0; at < header->e_shnum; at += 1) {
    const Elf64_Shdr *table = &sections[at];
    if ((table->sh_type == SHT_SYMTAB || table->sh_type == SHT_DYNSYM) && table->sh_link < header->e_shnum)
      take_symbols(image, header, table, &sections[table->sh_link], offsets);
  }
}

/** The offset in the file of each function that the module defines; 0 for others. */
static void find_functions(const struct module *module, uint64_t offsets[FUNCTIONS]) {
  memset(offsets, 0, FUNCTIONS * sizeof offsets[0]);
  const int descriptor = open(module->file, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  struct stat status;
  if (fstat(descriptor, &status) == 0 && status.st_size > 0) {
    const size_t length = (size_t)status.st_size;
    void *bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes != MAP_FAILED) {
      read_image(&(struct image){bytes, length}, offsets);
      munmap(bytes, length);
    }
  }
  close(descriptor);
}

/** The files that the process executes code of. */
static size_t read_modules(pid_t pid, struct module *modules) {
  char path[64], line[4096];
  snprintf(path, sizeof path, "/proc/%d/maps", pid);
  FILE *maps = fopen(path, "re");
  if (maps == NULL) return 0;
  size_t count = 0;
  while (count < MODULES_MAX && fgets(line, sizeof line, maps) != NULL) {
    uint64_t start, end;
    char executable;
    int name_at = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%*c%c%*c %*s %*s %*s %n", &start, &end, &executable, &name_at) != 3) continue;
    if (executable != 'x' || line[name_at] != '/') continue;
    struct module *module = &modules[count];
    struct stat status;
    snprintf(module->file, sizeof module->file, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, pid, start, end);
    if (stat(module->file, &status) != 0) continue;
    module->device = status.st_dev;
    module->inode = status.st_ino;
    line[strcspn(line, "\n")] = '\0';
    snprintf(module->name, sizeof module->name, "%s", strrchr(line + name_at, '/') + 1);
    bool is_known = false;
    for (size_t at = 0; at < count; at += 1)
      is_known |= modules[at].device == module->device && modules[at].inode == module->inode;
    if (!is_known) count += 1;
  }
  fclose(maps);
  return count;
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

static bool is_libc(const struct module *module) {
  return starts_with(module->name, "libc.") || starts_with(module->name, "libc-");
}

/** The loader's own malloc serves nobody else. */
static bool is_loader(const struct module *module) { return starts_with(module->name, "ld-linux"); }

static void take_function(struct allocator *allocator, const struct module *module, const uint64_t *offsets, int function) {
  struct probe_point *point = &allocator->functions[function];
  if (point->is_there || offsets[function] == 0) return;
  /* Two names of one function are one place to probe. */
  for (int other = 0; other < FUNCTIONS; other += 1)
    if (allocator->functions[other].is_there && allocator->functions[other].offset == offsets[function] &&
        strcmp(allocator->functions[other].file, module->file) == 0)
      return;
  point->is_there = true;
  point->offset = offsets[function];
  snprintf(point->file, sizeof point->file, "%s", module->file);
}

bool find_allocator(pid_t pid, struct allocator *allocator) {
  static struct module modules[MODULES_MAX];
  static uint64_t offsets[MODULES_MAX][FUNCTIONS];
  const size_t count = read_modules(pid, modules);
  memset(allocator, 0, sizeof *allocator);
  if (count == 0) return false;
  for (size_t at = 0; at < count; at += 1) find_functions(&modules[at], offsets[at]);
  errno = 0;
  /* Whose malloc is called, the loader decides by order: the program's own, a library's, libc's. */
  size_t chosen = count;
  for (size_t at = 0; at < count; at += 1) {
    if (offsets[at][FUNCTION_MALLOC] == 0 || offsets[at][FUNCTION_FREE] == 0 || is_loader(&modules[at])) continue;
    if (chosen == count || is_libc(&modules[chosen])) chosen = at;
  }
  if (chosen == count) return false;
  snprintf(allocator->name, sizeof allocator->name, "%s", modules[chosen].name);
  for (int function = 0; function < FUNCTION_NEW; function += 1)
    take_function(allocator, &modules[chosen], offsets[chosen], function);
  for (size_t at = 0; at < count; at += 1)
    for (int function = FUNCTION_NEW; function < FUNCTIONS; function += 1)
      take_function(allocator, &modules[at], offsets[at], function);
  return true;
}
