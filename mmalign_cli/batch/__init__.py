"""Many alignments: manifest, ledger, runner. Runs the pipeline many times."""
