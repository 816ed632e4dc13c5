#!/bin/sh
# Lets the virtual environment import the TensorRT that the base image has for its own Python: link_tensorrt.sh VENV
#
# By a .pth file, which comes after the environment's own packages: numpy and the like stay those of the lock.
set -eu
venv=$1

base=$("$venv/bin/python" -c 'import sys; print(sys._base_executable)')
if ! folder=$("$base" -c 'import pathlib, tensorrt; print(pathlib.Path(tensorrt.__file__).parents[1])'); then
    echo "the base image has no Python package tensorrt: build target tensorrt on the vendor's TensorRT image" >&2
    exit 1
fi
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$folder" >"$site/zz-tensorrt.pth"
chmod a+r "$site/zz-tensorrt.pth"
"$venv/bin/python" -c 'import tensorrt'
rm "$0"
