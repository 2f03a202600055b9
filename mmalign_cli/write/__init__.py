"""Alignment to files: every one written whole or not at all."""
