"""What an artifact must prove before anything is published: measurements, goals and their verdicts."""
