//go:build tools

// Package tools pins the prometheus binaries of the dev cluster.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
)
