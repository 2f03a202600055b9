"""Bytes to Stream: the `PATH,key=value` grammar, a registry of readers, one reader a file."""
