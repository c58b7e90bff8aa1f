#!/bin/sh
# Builds databases of the training and the test videos of a split of UCF101, from
# VIDEOS (CLASS/NAME.avi) and ANNOTATIONS (its split files); scripts/create_split_lmdbs.sh has the rest.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

export DATASET=ucf101
exec sh "$root/scripts/create_split_lmdbs.sh" "$@"
