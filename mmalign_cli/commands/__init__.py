"""The commands: options to settings, errors to exit codes; no arithmetic."""
