"""How good an alignment is: invariants verified, errors against a truth."""
