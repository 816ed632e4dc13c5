"""kopf, and only here: watches that wake the queue. No rule lives here, and no state is kept on objects."""
