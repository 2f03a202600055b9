"""All compiled code, and nothing else: arrays in, arrays and a status out; no raise, no I/O."""
