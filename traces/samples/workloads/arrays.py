"""Arrays of one to sixteen megabytes: images that are filtered, transformed and reduced, one after another."""

import sys

import numpy

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 12
random = numpy.random.default_rng(7)
total = 0.0
for round_number in range(rounds):
    side = 300 + 60 * (round_number % 9)
    image = random.random((side, side, 3))
    grey = image @ numpy.array([0.3, 0.6, 0.1])
    blurred = sum(numpy.roll(grey, (x, y), (0, 1)) for x in (-1, 0, 1) for y in (-1, 0, 1)) / 9
    edges = numpy.abs(blurred - grey)
    spectrum = numpy.fft.rfft2(edges)
    back = numpy.fft.irfft2(numpy.where(numpy.abs(spectrum) > 1, spectrum, 0), s=edges.shape)
    order = numpy.argsort(back, axis=None)
    total += float(back.ravel()[order[-side:]].sum())
print(round(total, 6))
