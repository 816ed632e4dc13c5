//go:build tools

// Package tools pins the etcd binaries of the dev cluster.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
)
