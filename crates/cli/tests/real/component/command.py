"""Greets each name in a file, then each on standard input."""

import os
import sys

from componentize_py_types import Err
from wit_world import exports


class Run(exports.Run):
    def run(self):
        try:
            with open(sys.argv[1]) as file:
                names = file.readlines() + sys.stdin.readlines()
        except OSError as error:
            print(type(error).__name__, file=sys.stderr)
            raise Err(None)
        for name in names:
            print(f"{os.environ['GREETING']}, {name.strip()}")
