#!/bin/sh
# Records the samples again: sh traces/samples/make.sh [NAME...]. Needs python3-numpy, r-base-core, redis-server, ffmpeg
# and sqlite3 of the distribution, and a C++ compiler. Runs differ a little from one another, for the programs do.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
hakmem="$here/../../bin/hakmem.js"
work="$here/workloads"
wanted=" $* "
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# sample NAME OPTIONS... -- PROGRAM ARG...: only the program that was asked for is kept, not the shells around it.
sample() {
  name=$1
  shift
  case "$wanted" in "  " | *" $name "*) ;; *) return 0 ;; esac
  node "$hakmem" record -o "$scratch/$name.hak" "$@" > "$scratch/$name.out"
  mv "$scratch/$name.hak" "$here/$name.hak"
  ls -l "$here/$name.hak" | awk '{ print $5, $NF }'
}

cd "$work"
c++ -O2 -std=c++17 -pthread -o "$scratch/books" threads.cc
sample python-json --touch -- /usr/bin/python3 json-zlib.py 60
sample numpy-arrays --touch -- /usr/bin/python3 arrays.py 18
sample r-frames --touch -- Rscript --vanilla frames.R
sample r-stacks --touch --stacks 8 --min-size 512 -- Rscript --vanilla frames.R
sample node-buffers --touch --min-size 4K -- node buffers.mjs 120
sample redis --touch -- sh redis.sh "$scratch"
sample ffmpeg --touch -- sh ffmpeg.sh
sample sqlite -- sqlite3 :memory: '.read words.sql'
sample threads -- "$scratch/books" 6
