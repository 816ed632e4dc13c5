//go:build tools

// Package tools pins the envoy-gateway binaries of the dev cluster.
package tools

import (
	_ "github.com/envoyproxy/gateway/cmd/envoy-gateway"
)
