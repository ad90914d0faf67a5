"""Picture file formats: pixels and metadata separated before decoding, and messages for refused formats."""
