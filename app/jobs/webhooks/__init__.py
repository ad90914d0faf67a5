"""Webhooks: a job's events, sent to its `callback_url` by a program of their own.

    save of state.json, which lists the events ── outbox (SQLite) ── dispatcher ── POST ──▶ receiver

The events stand in state.json, written together with the state that they report. The outbox has a copy of each and what
became of it. A process that dies between the two writes loses nothing: the index of jobs is updated last, so whatever
brings the index up to date copies the events first.
"""
