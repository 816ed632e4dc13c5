//go:build tools

// Package tools pins the versitygw binaries of the dev cluster.
package tools

import (
	_ "github.com/versity/versitygw/cmd/versitygw"
)
