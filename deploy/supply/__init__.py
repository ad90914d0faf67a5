"""What the service is made of that others wrote: versions, licences, known faults (docs/supply.md)."""
