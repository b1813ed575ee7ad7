"""The target `tvm`: shared libraries for ARM and x86 processors from Apache TVM with schedules of our own."""
