"""Streams to Alignment: the aligners and what they share."""
