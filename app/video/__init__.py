"""Video decoding: reading frames by time with decord and PyAV, on the CPU or a GPU, into the shared region."""
