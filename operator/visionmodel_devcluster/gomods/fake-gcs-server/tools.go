//go:build tools

// Package tools pins the GCS server of the converter's tests.
package tools

import (
	_ "github.com/fsouza/fake-gcs-server"
)
