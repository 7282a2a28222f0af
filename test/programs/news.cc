// Operators new and delete in their variants; main's own blocks are those of the sizes below.
#include <cstdlib>
#include <new>

struct alignas(64) Wide {
  char bytes[128];
};

static void *volatile sink;

int main(int count, char **) {
  for (int round = 0; round < 10; round += 1) {
    auto *one = new int(round);
    sink = one;
    delete one;
    auto *many = new char[1234];
    sink = many;
    delete[] many;
    auto *wide = new Wide;
    sink = wide;
    delete wide;
    auto *maybe = new (std::nothrow) char[777];
    sink = maybe;
    delete[] maybe;
    auto *none = new char[0];
    sink = none;
    delete[] none;
  }
  if (count > 1) return 0;  // valgrind cannot throw
  try {
    sink = new char[std::size_t(1) << 46];
  } catch (const std::bad_alloc &) {
    return 0;
  }
  return 1;
}
