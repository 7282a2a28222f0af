"""Modules of the standard library, parsed into trees and compiled."""

import ast
import inspect
import json.decoder
import textwrap

count = 0
for module in (ast, inspect, json.decoder, textwrap):
    tree = ast.parse(inspect.getsource(module))
    count += sum(1 for _ in ast.walk(tree))
    compile(tree, module.__name__, "exec")
print(count)
