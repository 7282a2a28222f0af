// Waits for a line, then allocates by operator new, and holds many of the smallest blocks at once.
#include <cstdio>
#include <cstdlib>
#include <new>

struct alignas(64) Wide {
  char bytes[4160];
};

static void *volatile sink;

int main() {
  static void *small[1000];
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  std::puts("ready");
  std::getchar();
  for (int round = 0; round < 100; round += 1) {
    auto *many = new char[5555];
    sink = many;
    delete[] many;
    auto *wide = new Wide;
    sink = wide;
    delete wide;
    auto *maybe = new (std::nothrow) char[7777];
    sink = maybe;
    delete[] maybe;
  }
  for (auto &block : small) block = std::malloc(8);
  for (auto &block : small) block = std::realloc(block, 24);
  for (auto &block : small) std::free(block);
  return 0;
}
