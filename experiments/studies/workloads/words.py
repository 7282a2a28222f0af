"""Words counted in dictionaries that come and go, sorted, joined, and cut again."""

import random

random.seed(7)
words = [f"word{random.randrange(20000)}" for _ in range(60000)]
total = 0
for part in range(6):
    counts = {}
    for word in words[part * 10000 :]:
        counts[word] = counts.get(word, 0) + 1
    text = " ".join(sorted(counts, key=counts.get))
    total += len(text.replace("word", "w").split("1"))
print(total)
