"""One run on disk: advance chunk by chunk, record, checkpoint, resume."""
