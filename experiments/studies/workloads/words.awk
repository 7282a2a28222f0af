# Words made, counted and joined.
BEGIN {
  seed = 1
  for (round = 0; round < 40000; round++) {
    seed = (seed * 16807) % 2147483647
    word = "word" seed % 5000
    count[word]++
    if (round % 8000 == 7999) {
      text = ""
      n = 0
      for (each in count) { text = text each " "; if (++n > 800) break }
      total += split(text, parts, "1") + length(text)
      split("", count)
    }
  }
  print total
}
