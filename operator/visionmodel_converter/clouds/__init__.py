"""Buckets of the three clouds: logins from mounted Secrets, and clients; for sources and for the artifact store."""
