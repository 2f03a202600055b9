"""Stream to Stream: what is computed from the content before anything is aligned."""
