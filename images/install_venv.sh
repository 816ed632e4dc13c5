#!/bin/sh
# Makes the virtual environment of an image: install_venv.sh VENV REQUIREMENTS
#
# Why a script: the three Dockerfiles share it, and it has to work on bases that differ. A base only has to have
# python3; pip comes from the wheelhouse mounted at /wheels, or from the distribution where no wheelhouse is given.
set -eu
venv=$1
requirements=$2

has_ensurepip() { python3 -c 'import ensurepip' 2>/dev/null; }

if wheel=$(ls /wheels/pip-*.whl 2>/dev/null); then
    python3 -m venv --without-pip "$venv"
    "$venv/bin/python" "$wheel/pip" install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
        --no-index --find-links /wheels --no-deps --require-hashes --requirement "$requirements"
else
    if ! has_ensurepip; then
        apt-get update
        apt-get install --yes --no-install-recommends python3-venv ca-certificates
        rm -rf /var/lib/apt/lists/*
    fi
    python3 -m venv --without-pip "$venv"
    python3 -m venv /build/pip
    /build/pip/bin/pip --python "$venv/bin/python" install --no-cache-dir --disable-pip-version-check \
        --root-user-action ignore --no-deps --require-hashes --requirement "$requirements"
    rm -rf /build/pip
fi

# The tests of numpy alone are 8 MB; nothing at run time imports a package's tests.
find "$venv" -type d -name tests -prune -exec rm -rf {} +
chmod -R go-w,a+rX "$venv"
