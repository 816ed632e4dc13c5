#!/bin/sh
# Makes our packages importable from the virtual environment: install_sources.sh VENV SOURCES VERSION
#
# By a .pth file and not by PYTHONPATH, which a pod's environment could replace. Compiled here because the root is
# read-only at run time. Modes are set because a checkout may have been made under any umask.
set -eu
venv=$1
sources=$2
version=$3

site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$sources" >"$site/visionmodel.pth"
# What `importlib.metadata.version` reads; no wheel is built, because each image has some of the packages only.
info=$site/visionmodel_operator-$version.dist-info
mkdir "$info"
printf 'Metadata-Version: 2.1\nName: visionmodel-operator\nVersion: %s\n' "$version" >"$info/METADATA"
chmod -R go-w,a+rX "$sources" "$info"
"$venv/bin/python" -m compileall -q "$sources"
rm "$0"
