"""What keeps the reconcile running: queue, lease, resync, health and metrics. kopf is not known here."""
