#!/bin/sh
# Puts the server of the wheel nvidia-pytriton where the vendor's images have it: lay_out_server.sh VENV SERVER
#
# Why: the operator's pod template then has one command for both images. The wheel's programs look for their libraries
# in `nvidia_pytriton.libs` relative to themselves, which from SERVER=/opt/tritonserver is /nvidia_pytriton.libs: the
# Dockerfile makes that a link to SERVER/lib, so no LD_LIBRARY_PATH is needed (a pod could overwrite it).
set -eu
venv=$1
server=$2

site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
wheel=$site/pytriton/tritonserver

mkdir -p "$server"
mv "$wheel/bin" "$wheel/backends" "$wheel/caches" "$server/"
mv "$wheel/python_backend_stubs/$version/triton_python_backend_stub" "$server/backends/python/"
mv "$site/nvidia_pytriton.libs" "$server/lib"
rm -rf "$site/pytriton" "$site"/nvidia_pytriton-*.dist-info "$venv/bin/pytriton"
# Only the stub for Python 3.13 uses this one, and it brings no standard library: 32 MB.
rm -f "$server"/lib/libpython3-*.so*

# The stub embeds the interpreter of the base. Debian and Ubuntu ship it as a package of its own.
find_libpython() { find /usr/lib /usr/local/lib -name "libpython$version.so.1.0" | head -n 1; }
if [ -z "$(find_libpython)" ]; then
    apt-get update
    apt-get install --yes --no-install-recommends "libpython$version"
fi
cp "$(find_libpython)" "$server/lib/"

chmod -R go-w,a+rX "$server"
chmod a+x "$server/bin/tritonserver" "$server/backends/python/triton_python_backend_stub"
