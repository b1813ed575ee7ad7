"""One compilation from end to end: prepare, optimize, emit, measure, summarize."""
