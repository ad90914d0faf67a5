"""Making a video smaller before it is sent: encoded again (`shrink`), or just the frames that will be looked at."""
