"""How fast `grurt serve` is, beside what its own stack does when there is no work."""
