"""Trees and matrices of Python objects, built and dropped."""


class Node:
    def __init__(self, depth):
        self.values = [depth] * 90
        self.children = [Node(depth - 1) for _ in range(3)] if depth else []


def weight(node):
    return sum(node.values) + sum(weight(child) for child in node.children)


total = 0
for _ in range(4):
    total += weight(Node(7))
    rows = [[row * column for column in range(400)] for row in range(400)]
    total += sum(map(sum, zip(*rows)))
print(total)
