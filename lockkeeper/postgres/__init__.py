"""PostgreSQL itself: connections, client programs, catalogue, locks and fingerprints."""
