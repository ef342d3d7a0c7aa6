"""Prints, for every column of numbers in every CSV file of a folder, how many there are and between
which values they lie."""

import csv
import pathlib
import statistics
import sys


def numbers(values):
    """The values as numbers, or nothing when one of them is none."""
    try:
        return [float(value) for value in values]
    except ValueError:
        return []


def columns(path):
    """The name and the values of each column."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    head, body = rows[0], [row for row in rows[1:] if row]
    return [(name, [row[index] for row in body]) for index, name in enumerate(head)]


def main(folder):
    for path in sorted(pathlib.Path(folder).glob("*.csv")):
        for name, values in columns(path):
            found = numbers(values)
            if found:
                mean = statistics.fmean(found)
                print(f"{path.name} {name}: {len(found)} from {min(found):g} to {max(found):g}, mean {mean:g}")


main(sys.argv[1])
