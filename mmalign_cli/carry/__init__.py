"""Stations: an alignment and any file make that file on another clock."""
