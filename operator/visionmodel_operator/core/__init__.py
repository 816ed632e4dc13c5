"""The thinking: pure functions from a snapshot and a time to a decision. No I/O, no clock, no random source."""
