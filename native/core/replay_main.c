/*
 * hak-replay: replays a .hak file in this process, on the real kernel unless told otherwise, and prints the Result. Needs
 * no Node; is given nothing that the simulator computed. Exit codes: 0 done, 1 a rule was broken, 2 bad usage or input.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "real.h"

static hak_replay replay;
static hak_real real;
static hak_file file;
/* In the order of HAK_REAL_WATCHED and what follows it, and then none of them. */
static const char *const kernel_names[] = {"real", "bare", "idle", "counted"};
enum { kernel_counted = HAK_REAL_IDLE + 1 };
static const char *const touch_names[] = HAK_TOUCH_NAMES;
static const char *const violation_names[] = HAK_VIOLATION_NAMES;

typedef struct {
  const char *name, *words;
  int64_t min, max;
  int64_t *value;
} parameter;

static parameter parameters[] = {
#define X(name, value, min, max, words) {#name, words, min, max, &replay.config.name},
    HAK_PARAMS(X)
#undef X
};

static const char usage[] =
    "usage: hak-replay FILE.hak [--json] [--mode MODE] [--set param=value]... [--price name=ns]... [--touch MODEL]\n"
    "                  [--kernel real|bare|idle|counted] [--profile KEY=VALUE,...] [--log FROM:TO] [--trust]\n"
    "                  [--seed N] [--folded] [--die-with-parent]\n"
    "       hak-replay --probe | --fingerprint\n"
    "--kernel bare: the mapped path alone with nobody looking, for its time; idle: the same without its calls and touches\n"
    "--folded: as a sweep replays, with what no mapping can come of added up; counted kernel only, keeps no checkpoints and no log\n";

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list words;
  va_start(words, format);
  fputs("hak-replay: ", stderr);
  vfprintf(stderr, format, words);
  fputc('\n', stderr);
  exit(2);
}

static int index_of(const char *const *names, int count, const char *word) {
  for (int at = 0; at < count; at += 1)
    if (strcmp(names[at], word) == 0) return at;
  return -1;
}

/* The place of `word` in a list separated by blanks, or -1. */
static int64_t word_index(const char *words, const char *word) {
  const size_t length = strlen(word);
  int64_t at = 0;
  for (const char *from = words; *from != '\0'; at += 1) {
    const size_t span = strcspn(from, " ");
    if (span == length && strncmp(from, word, span) == 0) return at;
    from += span;
    from += strspn(from, " ");
  }
  return -1;
}

static int64_t parse_value(const char *text, const char *what) {
  char *end = NULL;
  errno = 0;
  const long long value = strtoll(text, &end, 10);
  int64_t unit = 1;
  if (*end == 'K') unit = INT64_C(1) << 10;
  if (*end == 'M') unit = INT64_C(1) << 20;
  if (*end == 'G') unit = INT64_C(1) << 30;
  const char *rest = unit > 1 ? end + 1 : end;
  if (end == text || errno != 0 || (*rest != '\0' && strcmp(rest, "iB") != 0)) fail("%s: found \"%s\", wanted a number", what, text);
  return value * unit;
}

static void set(char *setting) {
  char *value = strchr(setting, '=');
  if (value == NULL) fail("\"%s\" is not a setting; wanted param=value", setting);
  *value = '\0';
  value += 1;
  for (size_t at = 0; at < sizeof parameters / sizeof *parameters; at += 1) {
    const parameter *found = &parameters[at];
    if (strcmp(found->name, setting) != 0) continue;
    const int64_t word = word_index(found->words, value);
    const int64_t number = word >= 0 ? word : parse_value(value, setting);
    if (number < found->min || number > found->max)
      fail("%s: found %s, wanted %lld to %lld", setting, value, (long long)found->min, (long long)found->max);
    *found->value = number;
    return;
  }
  fail("unknown parameter \"%s\"", setting);
}

static void set_price(char *setting) {
  char *value = strchr(setting, '=');
  if (value == NULL) fail("\"%s\" is not a price; wanted name=ns", setting);
  *value = '\0';
#define X(name, nominal) \
  if (strcmp(setting, #name) == 0) { \
    replay.prices.name = parse_value(value + 1, setting); \
    return; \
  }
  HAK_PRICES(X)
#undef X
  fail("unknown price \"%s\"", setting);
}

static void set_mode(const char *wanted) {
  bool known = false;
#define X(mode, name, value) \
  if (strcmp(wanted, #mode) == 0) { \
    known = true; \
    replay.config.name = value; \
  }
  HAK_MODES(X)
#undef X
  if (!known) fail("unknown mode \"%s\"; wanted one of MINIMAL FAST BALANCED LEARNING RESEARCH", wanted);
}

static void set_profile(char *text, hak_profile *profile) {
  static const char *const thp_names[] = HAK_THP_KERNEL_NAMES;
  static const char *const write_names[] = HAK_HUGE_ZERO_WRITE_NAMES;
  for (char *part = strtok(text, ","); part != NULL; part = strtok(NULL, ",")) {
    char *value = strchr(part, '=');
    if (value == NULL) fail("\"%s\" is not a part of a profile; wanted key=value", part);
    *value = '\0';
    value += 1;
    if (strcmp(part, "thp_kernel") == 0)
      profile->thp_kernel = index_of(thp_names, 3, value);
    else if (strcmp(part, "huge_zero_write") == 0)
      profile->huge_zero_write = index_of(write_names, 2, value);
    else if (strcmp(part, "pt_reclaim") == 0)
      profile->pt_reclaim = strcmp(value, "true") == 0;
    else if (strcmp(part, "read_maps_zero") == 0)
      profile->read_maps_zero = strcmp(value, "true") == 0;
    else if (strcmp(part, "split_maps_zero") == 0)
      profile->split_maps_zero = strcmp(value, "true") == 0;
    else if (strcmp(part, "process_madvise") == 0)
      profile->process_madvise = strcmp(value, "true") == 0;
    else if (strcmp(part, "page_bytes") != 0)
      fail("unknown part of a profile \"%s\"", part);
    if (profile->thp_kernel < 0 || profile->huge_zero_write < 0) fail("%s: unknown value \"%s\"", part, value);
  }
}

static void print_summary(const hak_measured *measured) {
  const hak_kernel *kernel = replay.kernel;
  char digest[17];
  hak_digest_hex(&replay.allocator.digest, digest);
  printf("events %lld\ndecisions %s\n", (long long)replay.events, digest);
  printf("mmap %lld munmap %lld dontneed %lld free %lld hugepage %lld nohugepage %lld process_madvise %lld\n",
         (long long)kernel->syscalls.mmap, (long long)kernel->syscalls.munmap, (long long)kernel->syscalls.madvise_dontneed,
         (long long)kernel->syscalls.madvise_free, (long long)kernel->syscalls.madvise_hugepage,
         (long long)kernel->syscalls.madvise_nohugepage, (long long)kernel->syscalls.process_madvise);
  printf("faults %lld huge %lld heap %lld\n", (long long)kernel->faults, (long long)kernel->huge_faults,
         (long long)(measured->real ? measured->heap_faults : hak_heap_faults(&replay.allocator.heap)));
}

static void print_learned(const hak_learning *learning) {
  static const char *const state_names[] = HAK_LIFECYCLE_STATE_NAMES;
  const hak_lifecycle *cycle = &learning->lifecycle;
  printf("learning %s strategy %d windows %lld freezes %lld canaries %lld promotions %lld rollbacks %lld relearns %lld\n",
         state_names[cycle->state], learning->arm, (long long)learning->windows, (long long)cycle->freezes,
         (long long)cycle->canaries, (long long)cycle->promotions, (long long)cycle->rollbacks, (long long)cycle->relearns);
}

static void replay_whole(void) {
  hak_chunk chunk;
  bool more = true;
  while (more && !replay.stopped) {
    if (!hak_file_next(&file, &chunk, &more)) fail("%s", file.error);
    if (more) hak_replay_feed(&replay, &chunk);
  }
  hak_replay_finish(&replay);
}

/* The same answer, less its checkpoints: what a sweep of this one configuration does. */
static void replay_folded(void) {
  static hak_fold fold;
  if (!hak_memory_open(&fold.memory)) fail("cannot reserve memory: %s", strerror(errno));
  hak_fold_init(&fold, hak_strategy_floor(&replay.config));
  hak_chunk chunk;
  bool more = true;
  while (more && !replay.stopped) {
    if (!hak_file_next(&file, &chunk, &more)) fail("%s", file.error);
    if (!more) break;
    hak_fold_add(&fold, &chunk);
    hak_planned_feed(&replay, &fold);
  }
  hak_planned_finish(&replay, &fold);
}

int main(int count, char **words) {
  const char *path = NULL;
  bool json = false;
  int kernel = HAK_REAL_WATCHED;
  bool folded = false;
  int touch = -1;
#define X(name, value, min, max, words) replay.config.name = value;
  HAK_PARAMS(X)
#undef X
#define X(name, nominal) replay.prices.name = nominal;
  HAK_PRICES(X)
#undef X
  /* Modes come first: a setting is over its mode wherever it stands. */
  for (int at = 1; at + 1 < count; at += 1)
    if (strcmp(words[at], "--mode") == 0) set_mode(words[at + 1]);
  hak_profile found = {0};
  hak_profile wanted = {0};
  bool probed = false;
  bool trusting = false;
  for (int at = 1; at < count; at += 1) {
    const char *word = words[at];
    char *value = at + 1 < count ? words[at + 1] : NULL;
    const bool takes_value = strcmp(word, "--set") == 0 || strcmp(word, "--price") == 0 || strcmp(word, "--touch") == 0 ||
                             strcmp(word, "--kernel") == 0 || strcmp(word, "--profile") == 0 || strcmp(word, "--log") == 0 ||
                             strcmp(word, "--mode") == 0 || strcmp(word, "--seed") == 0;
    if (takes_value && value == NULL) fail("%s wants a value", word);
    if (strcmp(word, "--fingerprint") == 0) return puts(HAK_SPEC_FINGERPRINT) < 0;
    if (strcmp(word, "--help") == 0) return fputs(usage, stdout) < 0;
    if (strcmp(word, "--probe") == 0) {
      found = hak_probe();
      hak_json_profile(stdout, &found);
      return putchar('\n') < 0;
    }
    if (strcmp(word, "--json") == 0) json = true;
    else if (strcmp(word, "--die-with-parent") == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
    else if (strcmp(word, "--trust") == 0) trusting = true;
    else if (strcmp(word, "--folded") == 0) folded = true;
    else if (strcmp(word, "--set") == 0) set(value);
    else if (strcmp(word, "--price") == 0) set_price(value);
    else if (strcmp(word, "--seed") == 0) replay.seed = parse_value(value, "seed");
    else if (strcmp(word, "--kernel") == 0) {
      kernel = index_of(kernel_names, sizeof kernel_names / sizeof *kernel_names, value);
      if (kernel < 0) fail("--kernel: found \"%s\", wanted real bare idle counted", value);
    } else if (strcmp(word, "--touch") == 0) {
      touch = index_of(touch_names, 5, value);
      if (touch < 0) fail("--touch: found \"%s\", wanted none first page all recorded", value);
    } else if (strcmp(word, "--profile") == 0) {
      if (!probed) wanted = found = hak_probe();
      probed = true;
      set_profile(value, &wanted);
    } else if (strcmp(word, "--log") == 0) {
      char *end = NULL;
      replay.log_from = strtoll(value, &end, 10);
      if (*end != ':') fail("--log: found \"%s\", wanted FROM:TO", value);
      replay.log_to = strtoll(end + 1, NULL, 10);
    } else if (strcmp(word, "--mode") != 0) {
      if (word[0] == '-') fail("unknown option \"%s\"", word);
      if (path != NULL) fail("one trace at a time; found \"%s\" after \"%s\"", word, path);
      path = word;
      continue;
    }
    if (takes_value) at += 1;
  }
  if (path == NULL) {
    fputs(usage, stderr);
    return 2;
  }
  const bool counted = kernel == kernel_counted;
  if (folded && !counted) fail("--folded wants --kernel counted: folding is of the model, the real kernel must see every event");
  if (folded && replay.log_to > replay.log_from) fail("--folded keeps no log; leave out --log or --folded");
  if (!probed) wanted = found = hak_probe();
  if (!hak_memory_open(&replay.memory)) fail("cannot reserve memory: %s", strerror(errno));
  if (!hak_file_open(&file, &replay.memory, path)) fail("%s", file.error);
  if (touch < 0) touch = (file.flags & HAK_LAYOUT_FLAG_TOUCH) != 0 ? HAK_TOUCH_RECORDED : HAK_TOUCH_PAGE;
  if (!counted && !hak_real_open(&real, &replay.memory, replay.config.region_bytes, touch == HAK_TOUCH_ALL, kernel))
    fail("%s", real.kernel.trouble);
  replay.terse = folded;
  hak_replay_init(&replay, touch, wanted, counted ? NULL : &real.kernel);
  replay.allocator.trusting = trusting;
  const hak_vmstat before = hak_vmstat_read();
  hak_measured measured = {0};
  if (!counted) hak_real_begin(&real);
  if (folded)
    replay_folded();
  else
    replay_whole();
  if (!counted) hak_real_end(&real, &measured);
  if (replay.kernel->trouble[0] != '\0') fprintf(stderr, "hak-replay: event %lld: %s\n", (long long)(replay.events - 1), replay.kernel->trouble);
  if (json) {
    fputs("{\"profile\":", stdout);
    hak_json_profile(stdout, &found);
    fputs(",\"preconditions\":", stdout);
    if (counted)
      fputs("{}", stdout);
    else
      hak_json_preconditions(stdout, &before, &real, &wanted, &found);
    if (kernel == HAK_REAL_BARE) printf(",\"slow_touches\":%lld", (long long)measured.slow_touches);
    fputs(",\"result\":", stdout);
    hak_json_result(stdout, &replay, &measured);
    fputs("}\n", stdout);
  } else {
    print_summary(&measured);
    if (replay.allocator.learning != NULL) print_learned(replay.allocator.learning);
  }
  if (replay.allocator.violation == HAK_VIOLATION_NONE) return 0;
  if (!json) fprintf(stderr, "hak-replay: event %lld: broke the rule %s\n", (long long)(replay.events - 1), violation_names[replay.allocator.violation]);
  return 1;
}
