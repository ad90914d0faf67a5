"""Parts of the OpenVINO engine: its memory, its streams, and the features of a network."""
