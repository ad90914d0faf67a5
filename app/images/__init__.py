"""Pictures: pixels separated from metadata, then decoded, with colour profiles, into the shared region."""
