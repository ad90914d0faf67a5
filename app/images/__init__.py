"""Picture decoding: still pictures and animations, with colour profiles, into the shared region."""
