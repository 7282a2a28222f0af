// Two threads count the words of texts that they make, pass the books to one another, and read and free what they get:
// threads BOOKS READINGS.
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using Book = std::map<std::string, std::vector<int>>;

struct Shelf {
  std::mutex mutex;
  std::condition_variable filled;
  std::deque<std::unique_ptr<Book>> books;
};

static std::unique_ptr<Book> write_book(unsigned seed, int words) {
  auto book = std::make_unique<Book>();
  for (int at = 0; at < words; at += 1) {
    seed = seed * 1664525 + 1013904223;
    std::string word(5 + seed % 23, 'a');
    for (size_t letter = 0; letter < word.size(); letter += 1) word[letter] += (seed >> (letter % 4 * 5)) % 3;
    (*book)[word].push_back(at);
  }
  return book;
}

static size_t read_book(const Book &book) {
  size_t sum = 0;
  for (const auto &[word, places] : book)
    for (int place : places)
      for (char letter : word) sum = sum * 31 + letter + place;
  return sum;
}

static size_t work(unsigned seed, int books, int readings, Shelf *mine, Shelf *other) {
  size_t sum = 0;
  for (int at = 0; at < books; at += 1) {
    auto book = write_book(seed + at, 2000);
    {
      std::lock_guard<std::mutex> hold(other->mutex);
      other->books.push_back(std::move(book));
    }
    other->filled.notify_one();
    std::unique_lock<std::mutex> hold(mine->mutex);
    mine->filled.wait(hold, [&] { return !mine->books.empty(); });
    auto received = std::move(mine->books.front());
    mine->books.pop_front();
    hold.unlock();
    for (int reading = 0; reading < readings; reading += 1) sum += read_book(*received);
  }
  return sum;
}

int main(int count, char **arguments) {
  const int books = count > 1 ? std::stoi(arguments[1]) : 300;
  const int readings = count > 2 ? std::stoi(arguments[2]) : 1;
  Shelf left, right;
  size_t sums[2];
  std::thread one([&] { sums[0] = work(1, books, readings, &left, &right); });
  std::thread two([&] { sums[1] = work(9, books, readings, &right, &left); });
  one.join();
  two.join();
  std::printf("%zu\n", sums[0] + sums[1]);
}
