#!/bin/sh
# Lets the packages of one virtual environment be imported from another: add_packages.sh VENV OTHER
#
# So that an optional runtime is a layer of its own on top of an image, and not a second copy of all packages.
set -eu
venv=$1
other=$2

site() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
site "$other" >"$(site "$venv")/$(basename "$other").pth"
chmod a+r "$(site "$venv")/$(basename "$other").pth"
rm "$0"
