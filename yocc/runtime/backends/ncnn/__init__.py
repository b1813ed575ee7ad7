"""ncnn: our graph written as its two files, without any of its tools, and run through its Python wheel."""
