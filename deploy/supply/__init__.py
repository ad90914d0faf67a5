"""Third-party software of the service: versions, licences and known vulnerabilities (docs/supply.md)."""
