"""The stages in order: the only place that knows them all."""
