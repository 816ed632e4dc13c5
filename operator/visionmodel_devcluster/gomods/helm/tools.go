//go:build tools

// Package tools pins the helm binaries of the dev cluster.
package tools

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
