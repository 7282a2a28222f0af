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

static const struct {
  const char *name;
  enum role role;
} functions[] = {
    {"malloc", ROLE_MALLOC},
    {"free", ROLE_FREE},
    {"calloc", ROLE_CALLOC},
    {"realloc", ROLE_REALLOC},
    {"reallocarray", ROLE_REALLOCARRAY},
    {"posix_memalign", ROLE_POSIX_MEMALIGN},
    {"aligned_alloc", ROLE_MEMALIGN},
    {"memalign", ROLE_MEMALIGN},
    {"valloc", ROLE_VALLOC},
    {"pvalloc", ROLE_PVALLOC},
    {"free_sized", ROLE_FREE},
    {"free_aligned_sized", ROLE_FREE},
    {"mallocx", ROLE_MALLOCX},
    {"rallocx", ROLE_REALLOC},
    {"dallocx", ROLE_FREE},
    {"sdallocx", ROLE_FREE},
    {"_Znwm", ROLE_NEW},
    {"_Znam", ROLE_NEW},
    {"_ZnwmRKSt9nothrow_t", ROLE_NEW},
    {"_ZnamRKSt9nothrow_t", ROLE_NEW},
    {"_ZnwmSt11align_val_t", ROLE_NEW_ALIGNED},
    {"_ZnamSt11align_val_t", ROLE_NEW_ALIGNED},
    {"_ZnwmSt11align_val_tRKSt9nothrow_t", ROLE_NEW_ALIGNED},
    {"_ZnamSt11align_val_tRKSt9nothrow_t", ROLE_NEW_ALIGNED},
    {"_ZdlPv", ROLE_DELETE},
    {"_ZdaPv", ROLE_DELETE},
    {"_ZdlPvm", ROLE_DELETE},
    {"_ZdaPvm", ROLE_DELETE},
    {"_ZdlPvSt11align_val_t", ROLE_DELETE},
    {"_ZdaPvSt11align_val_t", ROLE_DELETE},
    {"_ZdlPvmSt11align_val_t", ROLE_DELETE},
    {"_ZdaPvmSt11align_val_t", ROLE_DELETE},
};
enum { KNOWN = sizeof functions / sizeof functions[0], AT_MALLOC = 0, AT_FREE = 1 };
_Static_assert((int)KNOWN <= (int)FUNCTIONS, "there is room for all");

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
                         const Elf64_Shdr *names, uint64_t offsets[KNOWN]) {
  const Elf64_Sym *symbols = part(image, table->sh_offset, table->sh_size);
  const char *text = part(image, names->sh_offset, names->sh_size);
  if (symbols == NULL || text == NULL || names->sh_size == 0 || text[names->sh_size - 1] != '\0') return;
  for (uint64_t at = 0; at < table->sh_size / sizeof *symbols; at += 1) {
    const Elf64_Sym *symbol = &symbols[at];
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || ELF64_ST_BIND(symbol->st_info) == STB_LOCAL ||
        symbol->st_shndx == SHN_UNDEF || symbol->st_name >= names->sh_size)
      continue;
    for (int function = 0; function < KNOWN; function += 1)
      if (strcmp(text + symbol->st_name, functions[function].name) == 0)
        offsets[function] = file_offset(image, header, symbol->st_value);
  }
}

static void read_image(const struct image *image, uint64_t offsets[KNOWN]) {
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
static void find_functions(const struct module *module, uint64_t offsets[KNOWN]) {
  memset(offsets, 0, KNOWN * sizeof offsets[0]);
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

/**
 * Operators new and delete of another file than malloc's call malloc and free themselves: of those new is only watched for
 * who called it. An allocator's own stand beside its malloc.
 */
static bool is_worth_probing(enum role role, bool is_own) {
  const bool is_new = role == ROLE_NEW || role == ROLE_NEW_ALIGNED;
  return is_own || is_new;
}

static void take_function(struct allocator *allocator, const struct module *module, uint64_t offset, int function, bool is_own) {
  const enum role role = functions[function].role;
  if (offset == 0 || allocator->count == FUNCTIONS || !is_worth_probing(role, is_own)) return;
  for (size_t at = 0; at < allocator->count; at += 1) {
    const struct probe_point *other = &allocator->points[at];
    /* Two names of one function are one place to probe; of two functions of a name the first is called. */
    if (strcmp(other->name, functions[function].name) == 0) return;
    if (other->offset == offset && strcmp(other->file, module->file) == 0) return;
  }
  struct probe_point *point = &allocator->points[allocator->count++];
  snprintf(point->name, sizeof point->name, "%s", functions[function].name);
  snprintf(point->file, sizeof point->file, "%s", module->file);
  point->offset = offset;
  point->role = is_own ? role : ROLE_NEW_ABOVE;
}

bool find_allocator(pid_t pid, struct allocator *allocator) {
  static struct module modules[MODULES_MAX];
  static uint64_t offsets[MODULES_MAX][KNOWN];
  const size_t count = read_modules(pid, modules);
  memset(allocator, 0, sizeof *allocator);
  if (count == 0) return false;
  for (size_t at = 0; at < count; at += 1) find_functions(&modules[at], offsets[at]);
  errno = 0;
  /* Whose malloc is called, the loader decides by order: the program's own, a library's, libc's. */
  size_t chosen = count;
  for (size_t at = 0; at < count; at += 1) {
    if (offsets[at][AT_MALLOC] == 0 || offsets[at][AT_FREE] == 0 || is_loader(&modules[at])) continue;
    if (chosen == count || is_libc(&modules[chosen])) chosen = at;
  }
  if (chosen == count) return false;
  snprintf(allocator->name, sizeof allocator->name, "%s", modules[chosen].name);
  for (int function = 0; function < KNOWN; function += 1) {
    take_function(allocator, &modules[chosen], offsets[chosen][function], function, true);
    for (size_t at = 0; at < count; at += 1) take_function(allocator, &modules[at], offsets[at][function], function, at == chosen);
  }
  return true;
}
